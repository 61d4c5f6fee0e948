#pragma once

#include <cstdint>

#include "fl/common/base/result.h"
#include "fl/common/nn/histogram.h"

namespace fl::nn {

// What values a node's output takes.
struct ActivationRange {
  float low = 0;
  float high = 0;
  friend bool operator==(const ActivationRange&, const ActivationRange&) = default;
};

enum class RangeMethod : std::uint8_t {
  kMinMax,         // Smallest and largest value seen.
  kMovingAverage,  // Of each batch's extremes: m <- (1 - c) m + c x (Jacob et al. 2018,
                   // arXiv:1712.05877). What an observer does while a model trains.
  kPercentile,     // Cut at the magnitude that a share of the values stays within (Wu et al. 2020,
                   // arXiv:2004.09602).
  kSquaredError,   // Of 100 bounds on the magnitude between 0.5 (0.1 below 8 bits, where levels
                  // are dear) and 1 of the largest the one with the least sum of (x - rounded x)^2.
  kEntropy,  // The clip whose 2^(bits-1) levels of magnitude lose least information: KL(P, Q),
             // P the histogram of magnitudes with what is cut put into its last bin, Q its
             // merged levels spread over the bins that hold something (Migacz 2017, "8-bit
             // inference with TensorRT").
};

struct RangeOptions {
  RangeMethod method = RangeMethod::kSquaredError;
  std::uint32_t bits = 8;  // Of an activation, 2 to 8.
  bool symmetric = false;  // Zero point 0: the range is that of the larger magnitude on both sides.
  double percentile = 0;   // In (50, 100]; 0: 99.99, below 8 bits 99.9.
  Result<> Validate() const;
};

// The range that a histogram's values are best quantized over; zero is always within. Not for
// kMovingAverage, which needs the order of the values. A histogram without values has the range
// [0, 0]. The options must be valid.
ActivationRange ChooseRange(const Histogram& histogram, const RangeOptions& options);

// The range that is symmetric in integers: with ScaleOf its zero point is 0 and its scale the
// larger magnitude / 127.
ActivationRange SymmetricRange(const ActivationRange& range);

}  // namespace fl::nn
