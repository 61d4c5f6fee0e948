#pragma once

#include <cstdint>
#include <span>

// The orthonormal Walsh-Hadamard transform with random signs, by butterflies in the order of
// strides 1, 2, 4, ... (Sylvester's order of rows): sums and differences only, each element in one
// fixed order, so that all instruction sets give the same bits. Chosen once at run time by Highway.
// Each ...Reference is the oracle of its test. Thread safety: distinct values safe.
namespace fl::kernels {

// Bit i % 32 of word i / 32 is set where value i changes its sign.
using SignWords = std::span<const std::uint32_t>;

// out = H D values / sqrt(n): D the signs, n = values.size() a power of two, a word for each 32
// values or part of them; `out` is as long and may be the values.
void RotateForward(std::span<const float> values, SignWords signs, std::span<float> out);
void RotateForwardReference(std::span<const float> values, SignWords signs, std::span<float> out);

// values = D H values / sqrt(n): undoes RotateForward but for rounding.
void RotateBack(std::span<float> values, SignWords signs);
void RotateBackReference(std::span<float> values, SignWords signs);

}  // namespace fl::kernels
