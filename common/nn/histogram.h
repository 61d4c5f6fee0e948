#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"

namespace fl::nn {

// How often values occur, as a value that merges: 2048 bins of width 2^exponent, bin i over
// [i * width, (i + 1) * width) for i from first() on; exact zeros are counted apart. The window
// depends on nothing but the extremes seen: the smallest exponent with which 2048 bins from
// that of min(low, 0) on hold max(high, 0). A window that grows puts two bins together at a time,
// so that the histogram of all samples, and any merge of the histograms of their parts in any
// order, are the same to the last count. Thread safety: distinct objects safe.
class Histogram {
 public:
  static constexpr std::size_t kBins = 2048;
  static constexpr int kExponentLeast = -126;  // Widths below those of normal floats tell nothing.

  // kNotFinite, and nothing is counted, when a value is NaN or infinite.
  Result<> Add(std::span<const float> values);
  void Merge(const Histogram& other);
  // Makes the window that which values down to low <= 0 and up to high >= 0 would have made (they
  // are not counted).
  void WidenTo(float low, float high);

  float low() const { return low_; }    // The smallest value seen; 0 when none is below it.
  float high() const { return high_; }  // The largest; 0 when none is above it.
  double width() const;
  std::int64_t first() const { return first_; }
  std::span<const std::uint64_t, kBins> bins() const { return bins_; }
  std::uint64_t zeros() const { return zeros_; }
  // Of all values, zeros included.
  std::uint64_t count() const;
  // The middle of bin i of bins().
  double Middle(std::size_t i) const;

  // low, high, zeros and the bins: 2051 numbers. Histograms that were widened to the same low and
  // high have the same window, and all but the first two of their numbers may be added up: devices
  // that agreed on the extremes of all can send counts that are only ever seen summed.
  std::vector<double> ToNumbers() const;
  // kMalformed when the numbers are no histogram: their number, extremes that are not finite or not
  // around zero, counts that are no whole numbers in [0, 2^53] or lie above the largest value.
  static Result<Histogram> FromNumbers(std::span<const double> numbers);

  // The same as bytes, in which empty bins take no room:
  //
  //   histogram = low:f32 high:f32 zeros:varint bins:varint { step:varint count:varint }
  //
  // for each bin that counts something, ascending; its index is `step` for the first, and previous
  // + 1 + step for each other. A count is at least 1.
  static constexpr std::size_t kEncodedBytesMax = 8 + 8 + 2 + kBins * (1 + 8);
  Bytes Encode() const;
  // kMalformed (grammar, a bin of no count or beyond the last, what FromNumbers refuses),
  // kLimitExceeded (more bins than there are, counts above 2^53 together), kNotFinite (extremes).
  // All of `bytes` are read.
  static Result<Histogram> Decode(ByteSpan bytes);

  friend bool operator==(const Histogram&, const Histogram&) = default;

 private:
  float low_ = 0;
  float high_ = 0;
  int exponent_ = kExponentLeast;
  std::int64_t first_ = 0;
  std::uint64_t zeros_ = 0;
  std::array<std::uint64_t, kBins> bins_{};
};

}  // namespace fl::nn
