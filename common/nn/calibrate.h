#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fl/common/nn/graph.h"

namespace fl::nn {

// What values a node's output takes.
struct ActivationRange {
  float low = 0;
  float high = 0;
  friend bool operator==(const ActivationRange&, const ActivationRange&) = default;
};

enum class RangeMethod : std::uint8_t {
  kMinMax,        // Smallest and largest value seen.
  kSquaredError,  // Of 51 clips between 0.5 and 1 of min-max the one with the least squared error
                  // at 8 bits, from a histogram of 2048 bins.
};

// One range for each node of the graph, from a float run over `count` samples (512 are plenty, 64
// few). kInvalidArgument when there are none or their length does not fit; kNotFinite when a value
// is NaN or infinite.
Result<std::vector<ActivationRange>> ObserveRanges(const Graph& graph,
                                                   std::span<const float> parameters,
                                                   std::span<const float> samples,
                                                   std::size_t count, RangeMethod method);

}  // namespace fl::nn
