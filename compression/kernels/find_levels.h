#pragma once

#include <cstdint>
#include <span>

// The inner loops of quantizing to integer levels of a uniform grid through zero. The same bits
// with every instruction set; chosen once at run time by Highway. Each ...Reference is the oracle
// of its test. Thread safety: distinct outputs safe.
namespace fl::kernels {

// step > 0; magnitudes beyond level_max, 1 to 32767, become that.
struct LevelBins {
  float step = 1;
  std::uint32_t level_max = 32767;
};

// The level nearest to each value, the one nearer to zero of two.
void FindNearestLevels(std::span<const float> values, const LevelBins& bins,
                       std::span<std::int16_t> levels);
void FindNearestLevelsReference(std::span<const float> values, const LevelBins& bins,
                                std::span<std::int16_t> levels);

// The level before each value, as seen from zero, or the next one where the value's number in [0,
// 1) is less than what lies between.
void FindRandomLevels(std::span<const float> values, std::span<const float> uniforms,
                      const LevelBins& bins, std::span<std::int16_t> levels);
void FindRandomLevelsReference(std::span<const float> values, std::span<const float> uniforms,
                               const LevelBins& bins, std::span<std::int16_t> levels);

// 0 where |value| < zero steps, else the nearest level, of two the one farther from zero, at
// least 1.
void FindDeadZoneLevels(std::span<const float> values, const LevelBins& bins, float zero,
                        std::span<std::int16_t> levels);
void FindDeadZoneLevelsReference(std::span<const float> values, const LevelBins& bins, float zero,
                                 std::span<std::int16_t> levels);

// How far magnitudes lie above their levels', of levels of one magnitude or several.
struct LevelOffset {
  std::int64_t sum = 0;  // In units of step / 2^24.
  std::uint64_t count = 0;
  friend bool operator==(const LevelOffset&, const LevelOffset&) = default;
};
struct LevelOffsets {
  LevelOffset first;  // Of magnitude 1.
  LevelOffset rest;   // Of larger ones.
  friend bool operator==(const LevelOffsets&, const LevelOffsets&) = default;
};

// Adds those of the levels that FindDeadZoneLevels finds with zero >= 1/2: there the differences
// are whole numbers of the sum's unit.
void AddLevelOffsets(std::span<const float> values, std::span<const std::int16_t> levels,
                     const LevelBins& bins, LevelOffsets& offsets);
void AddLevelOffsetsReference(std::span<const float> values, std::span<const std::int16_t> levels,
                              const LevelBins& bins, LevelOffsets& offsets);

}  // namespace fl::kernels
