#include "fl/common/data/dataset.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string>

#include "fl/common/base/check.h"

namespace fl::data {
namespace {

Result<> CheckLabels(const Samples& samples) {
  if (samples.classes == 0) {
    if (!samples.labels.empty())
      return Error{ErrorCode::kMalformed, "samples: labels without a number of classes"};
    if (!AllFinite(samples.targets))
      return Error{ErrorCode::kNotFinite, "samples: a target is not finite"};
    return {};
  }
  if (!samples.targets.empty())
    return Error{ErrorCode::kMalformed, "samples: both labels and targets"};
  for (std::size_t i = 0; i < samples.labels.size(); ++i) {
    const std::int32_t label = samples.labels[i];
    if (label < 0 || static_cast<std::size_t>(label) >= samples.classes) {
      return Error{ErrorCode::kMalformed,
                   "sample " + std::to_string(i) + ": expected a label from 0 to " +
                       std::to_string(samples.classes - 1) + ", found " + std::to_string(label)};
    }
  }
  return {};
}

Result<> CheckSamples(const Samples& samples) {
  FL_TRY_OK(CheckLabels(samples));
  const std::size_t count = samples.count();
  if (count == 0) return Error{ErrorCode::kMalformed, "samples: expected at least one"};
  if (count > std::numeric_limits<std::uint32_t>::max()) {
    return Error{ErrorCode::kLimitExceeded, "samples: more than 32 bits can count"};
  }
  const std::size_t values =
      std::visit([](const auto& features) { return features.size(); }, samples.features);
  const std::size_t features = samples.shape.count();
  if (features == 0 || values / features != count || values % features != 0) {
    return Error{ErrorCode::kMalformed, "samples: expected " + std::to_string(count) +
                                            " of shape " + samples.shape.ToText() + ", found " +
                                            std::to_string(values) + " values"};
  }
  const auto* floats = std::get_if<std::vector<float>>(&samples.features);
  if (floats != nullptr && !AllFinite(*floats)) {
    return Error{ErrorCode::kNotFinite, "samples: a feature is not finite"};
  }
  return {};
}

// One value for each feature, from one for all, for each channel or for each feature.
std::vector<float> Spread(const std::vector<float>& values, std::size_t features) {
  std::vector<float> result(features);
  for (std::size_t i = 0; i < features; ++i) result[i] = values[i % values.size()];
  return result;
}

// out = in / 255, in blocks whose length the compiler knows, so that it makes vectors of them.
void DivideBytes(std::span<const std::uint8_t> in, std::span<float> out) {
  constexpr std::size_t kBlock = 16;
  std::size_t i = 0;
  for (; i + kBlock <= in.size(); i += kBlock) {
    const std::uint8_t* const from = in.data() + i;
    float* const to = out.data() + i;
    std::array<float, kBlock> block{};
    for (std::size_t k = 0; k < kBlock; ++k) block[k] = static_cast<float>(from[k]) / 255.0F;
    std::ranges::copy(block, to);
  }
  for (; i < in.size(); ++i) out[i] = static_cast<float>(in[i]) / 255.0F;
}

}  // namespace

Result<Dataset> Dataset::Create(Samples samples, Normalization normalization) {
  FL_TRY_OK(CheckSamples(samples));
  Dataset dataset;
  dataset.features_ = samples.shape.count();
  dataset.samples_ = std::make_shared<const Samples>(std::move(samples));
  return dataset.WithNormalization(std::move(normalization));
}

Result<Dataset> Dataset::WithNormalization(Normalization normalization) const {
  FL_TRY_OK(normalization.Validate(shape()));
  Dataset dataset;
  dataset.samples_ = samples_;
  dataset.features_ = features_;
  if (normalization.kind == Normalization::Kind::kStandard) {
    dataset.mean_ = Spread(normalization.mean, dataset.features_);
    dataset.scale_ = Spread(normalization.scale, dataset.features_);
  }
  dataset.normalization_ = std::move(normalization);
  return dataset;
}

void Dataset::CopySample(std::size_t index, std::span<float> out) const {
  FL_CHECK(index < count() && out.size() == features_,
           "a sample of the data set goes into a span of its size");
  const auto* const bytes = std::get_if<std::vector<std::uint8_t>>(&samples_->features);
  if (bytes != nullptr && normalization_.kind == Normalization::Kind::kUnit) {
    DivideBytes(std::span(*bytes).subspan(index * features_, features_), out);
    return;
  }
  std::visit(
      [&](const auto& features) {
        const auto* in = features.data() + index * features_;
        for (std::size_t i = 0; i < features_; ++i) out[i] = static_cast<float>(in[i]);
      },
      samples_->features);
  if (normalization_.kind == Normalization::Kind::kUnit) {
    for (float& value : out) value /= 255.0F;
  } else if (normalization_.kind == Normalization::Kind::kStandard) {
    for (std::size_t i = 0; i < features_; ++i) out[i] = (out[i] - mean_[i]) / scale_[i];
  }
}

void Dataset::CopySamples(std::span<const std::uint32_t> indices, std::span<float> out) const {
  FL_CHECK(out.size() == indices.size() * features_,
           "the span holds as many samples as there are indices");
  for (std::size_t i = 0; i < indices.size(); ++i)
    CopySample(indices[i], out.subspan(i * features_, features_));
}

void Dataset::Fetch(std::size_t index) const {
  constexpr std::size_t kLine = 64;
  constexpr std::size_t kBytesMax = 4096;  // Of a longer sample the processor sees the stream.
  FL_CHECK(index < count(), "a sample of the data set");
  std::visit(
      [&](const auto& features) {
        const auto* const first = features.data() + index * features_;
        const std::size_t step = kLine / sizeof(*first);
        const std::size_t end = std::min(features_, kBytesMax / sizeof(*first));
        for (std::size_t i = 0; i < end; i += step) __builtin_prefetch(first + i);
      },
      samples_->features);
}

}  // namespace fl::data
