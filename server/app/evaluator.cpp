#include "fl/server/app/evaluator.h"

#include "fl/compression/samples/evaluate_model.h"
#include "fl/compression/samples/plan_samples.h"

namespace fl::server {
namespace {

Result<std::shared_ptr<const data::Dataset>> OpenUnder(
    const std::string& source, data::SourceOptions options,
    const std::vector<std::filesystem::path>& roots) {
  auto found = data::OpenSource(source, options);
  std::string tried = found ? "" : found.error().message;
  for (const std::filesystem::path& root : roots) {
    if (found || found.error().code != ErrorCode::kNotFound) break;
    options.root = root;
    found = data::OpenSource(source, options);
    if (!found) tried += "; " + found.error().message;
  }
  if (found || found.error().code != ErrorCode::kNotFound) return found;
  return Error{ErrorCode::kNotFound,
               "evaluation.data: " + tried + "; say where the data lie with --data-root DIR"};
}

}  // namespace

Result<Measure> MakeMeasure(std::shared_ptr<const FederationPlan> plan,
                            const std::vector<std::filesystem::path>& roots) {
  const std::string& source = plan->plan().evaluation.data;
  if (source.empty()) return Measure();
  FL_TRY(data::SourceOptions options, SourceOptionsOf(plan->checked()));
  FL_TRY(std::shared_ptr<const data::Dataset> dataset,
         OpenUnder(source, std::move(options), roots));
  FL_TRY_OK(CheckFits(*dataset, plan->graph()));
  dataset = FitNormalization(data::Subset(dataset), plan->plan().data);
  return Measure([plan = std::move(plan),
                  dataset = std::move(dataset)](std::span<const float> model) -> Result<Quality> {
    FL_TRY(const nn::Evaluation evaluation,
           EvaluateModel(plan->graph(), model, data::Subset(dataset)));
    return Quality{evaluation.loss, evaluation.accuracy};
  });
}

}  // namespace fl::server
