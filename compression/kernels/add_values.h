#pragma once

#include <cstdint>
#include <span>

#include "fl/common/base/bytes.h"

// The inner loops of decoding: out[i] += scale * value[i]. One multiplication, one addition, no
// fused operation, so that all instruction sets give the same bits. Chosen once at run time by
// Highway. Each ...Reference is the oracle of its test.
namespace fl::kernels {

// Values as little-endian fp32, at any address; 4 * out.size() bytes.
void AddFloats(ByteSpan values, float scale, std::span<float> out);
void AddFloatsReference(ByteSpan values, float scale, std::span<float> out);

// Values as little-endian binary16, finite; 2 * out.size() bytes.
void AddHalves(ByteSpan values, float scale, std::span<float> out);
void AddHalvesReference(ByteSpan values, float scale, std::span<float> out);

// The same as bfloat16, finite.
void AddBfloat16s(ByteSpan values, float scale, std::span<float> out);
void AddBfloat16sReference(ByteSpan values, float scale, std::span<float> out);

// A uniform grid: value = float(code - zero) * step + low.
struct LevelGrid {
  float step = 0;
  float low = 0;
  std::int32_t zero = 0;
};
// One code a byte; codes.size() == out.size().
void AddLevels(ByteSpan codes, const LevelGrid& grid, float scale, std::span<float> out);
void AddLevelsReference(ByteSpan codes, const LevelGrid& grid, float scale, std::span<float> out);

// Two codes a byte, the lower four bits first, to one code a byte; out.size() may be odd.
void UnpackNibbles(ByteSpan packed, std::span<std::uint8_t> out);
void UnpackNibblesReference(ByteSpan packed, std::span<std::uint8_t> out);

// A grid of its own for each value: steps and lows as long as out.
void AddLevelsOnGrids(ByteSpan codes, std::span<const float> steps, std::span<const float> lows,
                      std::int32_t zero, float scale, std::span<float> out);
void AddLevelsOnGridsReference(ByteSpan codes, std::span<const float> steps,
                               std::span<const float> lows, std::int32_t zero, float scale,
                               std::span<float> out);

// out[j] += scale * (sum over k, in order, of left[k] * right[k * stride + j]): a piece of one row
// of a product of factors.
void AddFactorRow(std::span<const float> left, std::span<const float> right, std::size_t stride,
                  float scale, std::span<float> out);
void AddFactorRowReference(std::span<const float> left, std::span<const float> right,
                           std::size_t stride, float scale, std::span<float> out);

}  // namespace fl::kernels
