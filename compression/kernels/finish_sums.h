#pragma once

#include <span>

namespace fl::kernels {

// The last steps of a fold, each exact in its operations, so that every instruction set gives the
// same bits. Thread safety: distinct outputs safe.

// sums[i] += values[i], widened. Both spans have one length.
void AddToSums(std::span<const float> values, std::span<double> sums);

// out[i] = 0 + the fp32 nearest to sums[i] / divisor: never -0. Both spans have one length;
// divisor != 0.
void DivideSums(std::span<const double> sums, double divisor, std::span<float> out);

// The scalar oracles.
void AddToSumsReference(std::span<const float> values, std::span<double> sums);
void DivideSumsReference(std::span<const double> sums, double divisor, std::span<float> out);

}  // namespace fl::kernels
