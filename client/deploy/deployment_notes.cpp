#include "fl/client/deploy/deployment_notes.h"

#include <charconv>
#include <string>
#include <utility>
#include <vector>

#include "fl/client/deploy/local_model.h"
#include "fl/client/serve/drift.h"
#include "fl/common/nn/model_file.h"

namespace fl::client {
namespace {

std::string ToText(double value) {
  char buffer[32];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof(buffer), value);
  return {buffer, end};
}

// All samples of the device, those that training did not see first.
data::Subset AllOf(const LocalData& data) {
  std::vector<std::uint32_t> indices;
  for (const data::Subset* part : {&data.verification, &data.calibration, &data.training}) {
    indices.insert(indices.end(), part->indices().begin(), part->indices().end());
  }
  return {data.training.shared_dataset(), std::move(indices)};
}

}  // namespace

Bytes WithDeploymentNotes(Bytes model_file, const DeploymentFacts& facts, const LocalData& data,
                          std::uint64_t bytes_max) {
  auto file = nn::ParseModelFile(model_file);
  auto model = LocalModel::Load(model_file);
  if (!file || !model) return model_file;
  file->notes["accuracy"] = ToText(facts.accuracy);
  file->notes["global_accuracy"] = ToText(facts.global_accuracy);
  file->notes["verified_on"] = std::to_string(facts.verified_on);
  const auto reference = MeasureDriftReference(*model, AllOf(data));
  if (reference) file->notes[std::string(kDriftNote)] = reference->ToText();
  Bytes described = nn::SerializeModelFile(*file);
  if (bytes_max > 0 && described.size() > bytes_max) return model_file;
  return described;
}

}  // namespace fl::client
