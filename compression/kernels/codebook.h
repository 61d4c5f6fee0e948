#pragma once

#include <cstdint>
#include <span>

// Levels at any places, 2 to 256 of them: the inner loops of Lloyd and Eden. The same bits with
// every instruction set; chosen once at run time by Highway. Each ...Reference is the oracle of its
// test. Thread safety: distinct `out` and `codes` safe.
namespace fl::kernels {

// codes[i] = how many thresholds are <= values[i]. Thresholds ascend; 2^bits - 1 of them, bits 1 to
// 8.
void FindCodes(std::span<const float> values, std::span<const float> thresholds,
               std::span<std::uint8_t> codes);
void FindCodesReference(std::span<const float> values, std::span<const float> thresholds,
                        std::span<std::uint8_t> codes);

// out[i] += scale * levels[codes[i]]: a product, then a sum, never fused. Codes < levels.size().
void AddCodebook(std::span<const std::uint8_t> codes, std::span<const float> levels, float scale,
                 std::span<float> out);
void AddCodebookReference(std::span<const std::uint8_t> codes, std::span<const float> levels,
                          float scale, std::span<float> out);

// out[i] = levels[codes[i]].
void FindLevels(std::span<const std::uint8_t> codes, std::span<const float> levels,
                std::span<float> out);
void FindLevelsReference(std::span<const std::uint8_t> codes, std::span<const float> levels,
                         std::span<float> out);

}  // namespace fl::kernels
