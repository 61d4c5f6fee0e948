#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "fl/common/data/dataset.h"
#include "fl/common/random/rng_stream.h"

namespace fl::data {

// Some samples of a data set, by index: a device's share, the training or the hold-out part of it.
// Positions count within the subset. Shares the data set with all its other subsets. Thread safety:
// immutable, shared objects safe.
class Subset {
 public:
  // All samples.
  explicit Subset(std::shared_ptr<const Dataset> dataset);
  // The samples at `indices`, each < dataset->count(), in this order.
  Subset(std::shared_ptr<const Dataset> dataset, std::vector<std::uint32_t> indices);

  const Dataset& dataset() const { return *dataset_; }
  const std::shared_ptr<const Dataset>& shared_dataset() const { return dataset_; }
  std::size_t count() const { return indices_.size(); }
  bool empty() const { return indices_.empty(); }
  // Indices into the data set.
  std::span<const std::uint32_t> indices() const { return indices_; }

  std::int32_t label(std::size_t position) const { return dataset_->labels()[indices_[position]]; }
  float target(std::size_t position) const { return dataset_->targets()[indices_[position]]; }
  void CopySample(std::size_t position, std::span<float> out) const {
    dataset_->CopySample(indices_[position], out);
  }
  // out.size() == positions.size() * dataset().features().
  void CopySamples(std::span<const std::uint32_t> positions, std::span<float> out) const;
  // A hint that these are copied next.
  void Fetch(std::span<const std::uint32_t> positions) const {
    for (const std::uint32_t position : positions) dataset_->Fetch(indices_[position]);
  }

  // How many samples each class has; empty for regression.
  std::vector<std::uint64_t> LabelCounts() const;
  // The samples as they would stand in a file of their own: what Dataset::Create takes.
  Samples Extract() const;

 private:
  std::shared_ptr<const Dataset> dataset_;
  std::vector<std::uint32_t> indices_;
};

struct HoldOutSplit {
  Subset training;
  Subset holdout;
};

// Draws round(share * count) samples to hold out, at least one stays for training; both parts keep
// the subset's order. The same stream gives the same split. share in [0, 1).
HoldOutSplit SplitHoldOut(const Subset& subset, double share, RngStream rng);

// Whether FitStandard finds one mean and scale for all features, for each channel (last extent), or
// for each feature.
enum class FitScope : std::uint8_t { kAll, kChannel, kFeature };

// The mean and standard deviation of the stored features, as a Normalization; the scale of constant
// features is 1. The subset is not empty. Summed in double in the subset's order.
Normalization FitStandard(const Subset& subset, FitScope scope);

}  // namespace fl::data
