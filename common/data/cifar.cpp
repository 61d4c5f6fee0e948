#include "fl/common/data/cifar.h"

#include <string>

namespace fl::data {

Result<Samples> ParseCifar10(ByteSpan bytes, const DataLimits& limits) {
  constexpr std::size_t kPixels = 1024;
  constexpr std::size_t kChannels = 3;
  constexpr std::size_t kRecordBytes = 1 + kChannels * kPixels;
  constexpr std::size_t kClasses = 10;
  const std::size_t count = bytes.size() / kRecordBytes;
  if (count == 0 || bytes.size() % kRecordBytes != 0) {
    return Error{ErrorCode::kMalformed, "CIFAR-10: expected a multiple of 3073 bytes, found " +
                                            std::to_string(bytes.size())};
  }
  if (count > limits.samples_max || count * kChannels * kPixels > limits.values_max) {
    return Error{ErrorCode::kLimitExceeded, "CIFAR-10: more samples than accepted"};
  }
  Samples samples{.shape = {32, 32, kChannels},
                  .features = {},
                  .labels = {},
                  .targets = {},
                  .classes = kClasses};
  std::vector<std::uint8_t> features(count * kChannels * kPixels);
  for (std::size_t i = 0; i < count; ++i) {
    const ByteSpan record = bytes.subspan(i * kRecordBytes, kRecordBytes);
    const auto label = std::to_integer<std::int32_t>(record[0]);
    if (label >= static_cast<std::int32_t>(kClasses)) {
      return Error{ErrorCode::kMalformed, "CIFAR-10: record " + std::to_string(i) +
                                              ": expected a label below 10, found " +
                                              std::to_string(label)};
    }
    samples.labels.push_back(label);
    std::uint8_t* out = features.data() + i * kChannels * kPixels;
    for (std::size_t j = 0; j < kChannels * kPixels; ++j) {
      out[j] = std::to_integer<std::uint8_t>(record[1 + (j % kChannels) * kPixels + j / kChannels]);
    }
  }
  samples.features = std::move(features);
  return samples;
}

}  // namespace fl::data
