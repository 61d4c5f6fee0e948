#include "fl/client/train/local_data.h"

#include <algorithm>
#include <string>
#include <vector>

#include "fl/compression/samples/plan_samples.h"

namespace fl::client {
namespace {

// The same samples of another view of the data set.
data::Subset Of(const std::shared_ptr<const data::Dataset>& dataset, const data::Subset& subset) {
  return {dataset, {subset.indices().begin(), subset.indices().end()}};
}

data::Subset Slice(const data::Subset& subset, std::size_t first, std::size_t count) {
  const auto part = subset.indices().subspan(first, count);
  return data::Subset(subset.shared_dataset(), {part.begin(), part.end()});
}

}  // namespace

LocalData SplitLocalData(const data::Subset& samples, const Plan& plan, std::string_view client) {
  const auto parts = data::SplitHoldOut(
      samples, plan.data.holdout, RngStream(plan.seed).Child("client", client).Child("holdout"));
  const auto dataset = FitNormalization(parts.training, plan.data);
  data::Subset training = Of(dataset, parts.training);
  data::Subset holdout = Of(dataset, parts.holdout);
  const std::size_t calibration =
      holdout.count() < 2 ? 0 : std::max<std::size_t>(holdout.count() / 4, 1);
  data::Subset first = Slice(holdout, 0, calibration);
  data::Subset rest = Slice(holdout, calibration, holdout.count() - calibration);
  return {std::move(training), std::move(holdout), std::move(first), std::move(rest)};
}

}  // namespace fl::client
