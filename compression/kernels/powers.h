#pragma once

#include <cstdint>
#include <span>

// Magnitudes to powers of two at random: the inner loop of Natural. The same bits with every
// instruction set; chosen once at run time by Highway. Each ...Reference is the oracle of its test.
// Thread safety: distinct outputs safe.
namespace fl::kernels {

// exponents[i]: that of values[i] as its bits have it, and one more with a chance of its
// significand, as words[i] tells; at most 254. negative[i]: 1 for a value below zero whose exponent
// is not 0, else 0. The values are finite; all spans as long.
void RoundToPowers(std::span<const float> values, std::span<const std::uint32_t> words,
                   std::span<std::uint8_t> exponents, std::span<std::uint8_t> negative);
void RoundToPowersReference(std::span<const float> values, std::span<const std::uint32_t> words,
                            std::span<std::uint8_t> exponents, std::span<std::uint8_t> negative);

}  // namespace fl::kernels
