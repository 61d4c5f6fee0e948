#include "fl/common/data/subset.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "fl/common/base/check.h"

namespace fl::data {
namespace {

std::vector<std::uint32_t> AllIndices(std::size_t count) {
  std::vector<std::uint32_t> indices(count);
  std::iota(indices.begin(), indices.end(), 0U);
  return indices;
}

Subset Pick(const Subset& subset, std::span<const std::uint32_t> positions) {
  std::vector<std::uint32_t> indices;
  indices.reserve(positions.size());
  for (const std::uint32_t position : positions) indices.push_back(subset.indices()[position]);
  return {subset.shared_dataset(), std::move(indices)};
}

std::size_t GroupCount(const Dataset& dataset, FitScope scope) {
  if (scope == FitScope::kAll) return 1;
  if (scope == FitScope::kFeature) return dataset.features();
  const Shape& shape = dataset.shape();
  return shape.rank() > 0 ? shape[shape.rank() - 1] : 1;
}

// Calls add(group, value) for each stored feature of the subset.
template <typename F>
void ForEachFeature(const Subset& subset, std::size_t groups, const F& add) {
  const std::size_t features = subset.dataset().features();
  std::visit(
      [&](const auto& values) {
        for (const std::uint32_t index : subset.indices()) {
          for (std::size_t i = 0; i < features; ++i)
            add(i % groups, static_cast<double>(values[index * features + i]));
        }
      },
      subset.dataset().samples().features);
}

}  // namespace

Subset::Subset(std::shared_ptr<const Dataset> dataset) : dataset_(std::move(dataset)) {
  FL_CHECK(dataset_ != nullptr, "a subset is of a data set");
  indices_ = AllIndices(dataset_->count());
}

Subset::Subset(std::shared_ptr<const Dataset> dataset, std::vector<std::uint32_t> indices)
    : dataset_(std::move(dataset)), indices_(std::move(indices)) {
  FL_CHECK(dataset_ != nullptr, "a subset is of a data set");
  FL_CHECK(
      std::ranges::all_of(indices_, [&](std::uint32_t index) { return index < dataset_->count(); }),
      "a subset's indices lie within the data set");
}

void Subset::CopySamples(std::span<const std::uint32_t> positions, std::span<float> out) const {
  std::vector<std::uint32_t> indices(positions.size());
  std::ranges::transform(positions, indices.begin(),
                         [this](std::uint32_t position) { return indices_[position]; });
  dataset_->CopySamples(indices, out);
}

std::vector<std::uint64_t> Subset::LabelCounts() const {
  std::vector<std::uint64_t> counts(dataset_->classes());
  if (counts.empty()) return counts;
  for (std::size_t i = 0; i < count(); ++i) ++counts[static_cast<std::size_t>(label(i))];
  return counts;
}

Samples Subset::Extract() const {
  const Samples& all = dataset_->samples();
  const std::size_t features = dataset_->features();
  Samples result{
      .shape = all.shape, .features = {}, .labels = {}, .targets = {}, .classes = all.classes};
  std::visit(
      [&](const auto& values) {
        std::decay_t<decltype(values)> picked;
        picked.reserve(count() * features);
        for (const std::uint32_t index : indices_) {
          const auto first = values.begin() + static_cast<std::ptrdiff_t>(index * features);
          picked.insert(picked.end(), first, first + static_cast<std::ptrdiff_t>(features));
        }
        result.features = std::move(picked);
      },
      all.features);
  for (std::size_t i = 0; i < count(); ++i) {
    if (all.classes > 0) {
      result.labels.push_back(label(i));
    } else {
      result.targets.push_back(target(i));
    }
  }
  return result;
}

HoldOutSplit SplitHoldOut(const Subset& subset, double share, RngStream rng) {
  FL_CHECK(share >= 0 && share < 1, "the share to hold out lies in [0, 1)");
  const std::size_t count = subset.count();
  auto held = static_cast<std::size_t>(std::floor(share * static_cast<double>(count) + 0.5));
  if (count > 0) held = std::min(held, count - 1);
  std::vector<std::uint32_t> positions = AllIndices(count);
  rng.Shuffle(std::span(positions));
  const auto border = positions.begin() + static_cast<std::ptrdiff_t>(held);
  std::sort(positions.begin(), border);
  std::sort(border, positions.end());
  const std::span<const std::uint32_t> ordered = positions;
  return {.training = Pick(subset, ordered.subspan(held)),
          .holdout = Pick(subset, ordered.first(held))};
}

Normalization FitStandard(const Subset& subset, FitScope scope) {
  FL_CHECK(!subset.empty(), "a normalization is fitted to samples");
  const std::size_t groups = GroupCount(subset.dataset(), scope);
  const std::size_t features_per_group = subset.dataset().features() / groups;
  const auto values_per_group = static_cast<double>(subset.count() * features_per_group);
  std::vector<double> mean(groups);
  std::vector<double> variance(groups);
  ForEachFeature(subset, groups, [&](std::size_t group, double value) { mean[group] += value; });
  for (double& value : mean) value /= values_per_group;
  ForEachFeature(subset, groups, [&](std::size_t group, double value) {
    variance[group] += (value - mean[group]) * (value - mean[group]);
  });
  Normalization result;
  result.kind = Normalization::Kind::kStandard;
  for (std::size_t i = 0; i < groups; ++i) {
    const auto deviation = static_cast<float>(std::sqrt(variance[i] / values_per_group));
    result.mean.push_back(static_cast<float>(mean[i]));
    result.scale.push_back(deviation > 0 ? deviation : 1.0F);
  }
  return result;
}

}  // namespace fl::data
