#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <variant>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/data/normalization.h"
#include "fl/common/tensor/tensor.h"

namespace fl::data {

// Samples as a file holds them: features sample by sample, each in row-major order, and one label a
// sample.
struct Samples {
  Shape shape;  // Of one sample.
  std::variant<std::vector<std::uint8_t>, std::vector<float>> features;
  std::vector<std::int32_t>
      labels;  // Classification: class of each sample, 0 to classes - 1. Else empty.
  std::vector<float> targets;  // Regression: the number to predict for each sample. Else empty.
  std::size_t classes = 0;     // 0: regression. A share of a data set may lack some of its classes.

  std::size_t count() const { return classes > 0 ? labels.size() : targets.size(); }
  friend bool operator==(const Samples&, const Samples&) = default;
};

// Samples with their normalization. Bytes stay bytes: 60,000 images of 28x28 take 47 MB.
// Thread safety: immutable, shared objects safe.
class Dataset {
 public:
  // kMalformed when the sizes do not fit, a label is out of range or there is no sample;
  // kNotFinite; kInvalidArgument when the normalization does not fit the shape.
  static Result<Dataset> Create(Samples samples, Normalization normalization = {});
  // The same stored samples, shared, read in another way. kInvalidArgument as above.
  Result<Dataset> WithNormalization(Normalization normalization) const;

  const Shape& shape() const { return samples_->shape; }
  std::size_t features() const { return features_; }  // Of one sample.
  std::size_t count() const { return samples_->count(); }
  std::size_t classes() const { return samples_->classes; }  // 0: regression.
  // One for each sample; labels() is empty for regression, targets() for classification.
  std::span<const std::int32_t> labels() const { return samples_->labels; }
  std::span<const float> targets() const { return samples_->targets; }
  const Normalization& normalization() const { return normalization_; }
  // The stored features, not normalized.
  const Samples& samples() const { return *samples_; }

  // The normalized features of one sample; out.size() == features(), index < count().
  void CopySample(std::size_t index, std::span<float> out) const;
  // Of several samples, one after the other; out.size() == indices.size() * features().
  void CopySamples(std::span<const std::uint32_t> indices, std::span<float> out) const;
  // A hint that the sample is copied soon: samples in a shuffled order lie anywhere in memory.
  void Fetch(std::size_t index) const;

 private:
  Dataset() = default;

  std::shared_ptr<const Samples> samples_;
  Normalization normalization_;
  std::size_t features_ = 0;
  std::vector<float> mean_;  // One for each feature, with kStandard.
  std::vector<float> scale_;
};

}  // namespace fl::data
