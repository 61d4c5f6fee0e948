#include "fl/client/train/local_data.h"

#include <algorithm>
#include <string>
#include <vector>

namespace fl::client {
namespace {

data::Subset Slice(const data::Subset& subset, std::size_t first, std::size_t count) {
  const auto part = subset.indices().subspan(first, count);
  return data::Subset(subset.shared_dataset(), {part.begin(), part.end()});
}

}  // namespace

LocalData SplitLocalData(const data::Subset& samples, const Plan& plan, std::string_view client) {
  auto [training, holdout] = data::SplitHoldOut(
      samples, plan.data.holdout, RngStream(plan.seed).Child("client", client).Child("holdout"));
  const std::size_t calibration =
      holdout.count() < 2 ? 0 : std::max<std::size_t>(holdout.count() / 4, 1);
  data::Subset first = Slice(holdout, 0, calibration);
  data::Subset rest = Slice(holdout, calibration, holdout.count() - calibration);
  return {std::move(training), std::move(holdout), std::move(first), std::move(rest)};
}

Result<> CheckFits(const data::Dataset& dataset, const nn::Graph& graph) {
  if (dataset.features() != graph.input_shape().count()) {
    return Error{ErrorCode::kShapeMismatch, "data: expected samples of " +
                                                graph.input_shape().ToText() + ", found " +
                                                dataset.shape().ToText()};
  }
  const std::size_t outputs = graph.output_shape().count();
  if (graph.loss == nn::LossKind::kMeanSquaredError) {
    if (dataset.classes() == 0 && outputs == 1) return {};
    return Error{ErrorCode::kShapeMismatch,
                 "data: expected one number to predict a sample, as the plan's model does"};
  }
  if (dataset.classes() > 0 && dataset.classes() <= outputs) return {};
  return Error{ErrorCode::kShapeMismatch, "data: expected labels of at most " +
                                              std::to_string(outputs) + " classes, found " +
                                              std::to_string(dataset.classes())};
}

}  // namespace fl::client
