#pragma once

#include <array>
#include <span>

// Sums in double in one fixed order that leaves room for vectors: term i goes to the partial sum
// i % 8, each of them from its first term to its last, and the sum is that of the partial sums in
// their order. Products of floats are exact in double, so that a fused operation gives the same
// bits: as every instruction set does; chosen once at run time by Highway. Each ...Reference is the
// oracle of its test. Thread safety: distinct sums safe.
namespace fl::kernels {

using PartialSums = std::array<double, 8>;

double Total(const PartialSums& sums);

// Adds values[i]^2. What is added next continues the row where this was a multiple of eight values.
void AddSquares(std::span<const float> values, PartialSums& sums);
void AddSquaresReference(std::span<const float> values, PartialSums& sums);

// Adds values[i] * factors[i]; as many of them.
void AddProducts(std::span<const float> values, std::span<const float> factors, PartialSums& sums);
void AddProductsReference(std::span<const float> values, std::span<const float> factors,
                          PartialSums& sums);

}  // namespace fl::kernels
