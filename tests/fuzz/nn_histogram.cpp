#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "fl/common/base/check.h"
#include "fl/common/nn/choose_range.h"
#include "fl/common/nn/histogram.h"

// The first bytes are low, high and zeros; then bins by their index (two bytes) with their counts
// (8 bytes), all little-endian. What is no histogram is refused; a histogram comes back from its
// numbers and yields a finite range by every method that needs no order.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using fl::nn::Histogram;
  constexpr std::size_t kHeader = 3;
  constexpr std::size_t kPatch = sizeof(std::uint16_t) + sizeof(double);
  std::vector<double> numbers(kHeader + Histogram::kBins);
  const std::size_t header = std::min(size, kHeader * sizeof(double));
  if (size == 0) return 0;
  std::memcpy(numbers.data(), data, header);
  for (std::size_t at = header; at + kPatch <= size; at += kPatch) {
    std::uint16_t bin = 0;
    std::memcpy(&bin, data + at, sizeof(bin));
    std::memcpy(&numbers[kHeader + bin % Histogram::kBins], data + at + sizeof(bin),
                sizeof(double));
  }
  if (size < header + kPatch) numbers.resize(size);  // As many as there are bytes: too few.
  const auto histogram = Histogram::FromNumbers(numbers);
  if (!histogram) return 0;
  const auto again = Histogram::FromNumbers(histogram->ToNumbers());
  FL_CHECK(again.has_value() && *again == *histogram, "a histogram comes back from its numbers");
  for (const fl::nn::RangeMethod method :
       {fl::nn::RangeMethod::kMinMax, fl::nn::RangeMethod::kPercentile,
        fl::nn::RangeMethod::kSquaredError}) {
    const fl::nn::ActivationRange range = fl::nn::ChooseRange(*histogram, {.method = method});
    FL_CHECK(
        std::isfinite(range.low) && std::isfinite(range.high) && range.low <= 0 && range.high >= 0,
        "a range is finite and around zero");
  }
  return 0;
}
