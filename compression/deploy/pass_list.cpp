#include "fl/compression/deploy/pass_list.h"

#include <algorithm>
#include <string>

#include "fl/compression/deploy/pass_order.h"
#include "fl/compression/deploy/pass_table.h"

namespace fl::deploy {
namespace {

Result<PassEntry> ReadPass(const PassConfig& config, const nn::Graph& teacher, PassListUse use) {
  const auto row = std::ranges::find(PassTable(), config.name.text, &PassRow::name);
  if (row == PassTable().end()) {
    std::string names;
    for (const PassRow& known : PassTable())
      names += (names.empty() ? "" : ", ") + std::string(known.name);
    return Refuse(config.name.location,
                  "unknown pass \"" + config.name.text + "\"; this version has " + names,
                  ErrorCode::kUnsupported);
  }
  Fields fields(config, teacher, use);
  FL_TRY(std::shared_ptr<const Pass> pass, row->read(fields));
  FL_TRY_OK(fields.Finish());  // Also where a Read function forgot it.
  return PassEntry{std::move(pass), config.name.location};
}

}  // namespace

Result<PassList> ParsePassList(const DeploymentConfig& deployment, const nn::Graph& teacher,
                               PassListUse use) {
  PassList passes;
  if (deployment.passes.empty()) return passes;
  const Location& first = deployment.passes.front().name.location;
  if (deployment.version != 1) {
    return Refuse(
        first,
        "deployment.version: this version has 1, found " + std::to_string(deployment.version),
        ErrorCode::kUnsupported);
  }
  if (teacher.loss != nn::LossKind::kSoftmaxCrossEntropy) {
    return Refuse(first,
                  "passes are accepted by accuracy, so they need a model with loss = "
                  "\"softmax_cross_entropy\"",
                  ErrorCode::kUnsupported);
  }
  for (const PassConfig& config : deployment.passes) {
    FL_TRY(PassEntry entry, ReadPass(config, teacher, use));
    passes.push_back(std::move(entry));
  }
  FL_TRY_OK(CheckPassOrder(passes, use));
  return passes;
}

}  // namespace fl::deploy
