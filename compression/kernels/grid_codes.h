#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "fl/compression/kernels/add_values.h"

// The inner loops of encoding on a uniform grid. The same bits with every instruction set; chosen
// once at run time by Highway. Each ...Reference is the oracle of its test. Thread safety: distinct
// `codes` safe.
namespace fl::kernels {

// Where a value lies among the codes 0 to code_max of a grid whose step is above 0.
inline float PlaceOnGrid(float value, const LevelGrid& grid, unsigned code_max) {
  return std::clamp((value - grid.low) / grid.step + static_cast<float>(grid.zero), 0.0F,
                    static_cast<float>(code_max));
}
// The code nearest to a place, the even one of two.
inline std::uint8_t NearestCode(float place) {
  // Between 2^23 and 2^24 floats are whole numbers, so that the addition rounds, to even on ties.
  constexpr float kWhole = 0x1.8p23F;
  return static_cast<std::uint8_t>((place + kWhole) - kWhole);
}
// The code below a place, or the next one where `uniform` is less than what lies between.
inline std::uint8_t RandomCode(float place, float uniform) {
  const auto below = static_cast<std::uint8_t>(place);
  return static_cast<std::uint8_t>(below + (uniform < place - static_cast<float>(below) ? 1 : 0));
}

// The nearest code of each value; code_max <= 255.
void FindGridCodes(std::span<const float> values, const LevelGrid& grid, unsigned code_max,
                   std::span<std::uint8_t> codes);
void FindGridCodesReference(std::span<const float> values, const LevelGrid& grid, unsigned code_max,
                            std::span<std::uint8_t> codes);

// The random code of each value, by a number in [0, 1) each.
void FindRandomCodes(std::span<const float> values, std::span<const float> uniforms,
                     const LevelGrid& grid, unsigned code_max, std::span<std::uint8_t> codes);
void FindRandomCodesReference(std::span<const float> values, std::span<const float> uniforms,
                              const LevelGrid& grid, unsigned code_max,
                              std::span<std::uint8_t> codes);

// The largest magnitude of finite values; 0 of none.
float LargestMagnitude(std::span<const float> values);
float LargestMagnitudeReference(std::span<const float> values);

}  // namespace fl::kernels
