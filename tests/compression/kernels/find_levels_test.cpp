#include "fl/compression/kernels/find_levels.h"

#include <vector>

#include <doctest/doctest.h>

#include "fl/common/random/rng_stream.h"
#include "fl/tests/support/simd_targets.h"

namespace fl::kernels {
namespace {

// Normal ones, and some that lie where one level ends and the next begins.
std::vector<float> SomeValues(std::size_t count, RngStream& rng) {
  std::vector<float> values(count);
  rng.FillNormal(values);
  for (std::size_t i = 0; i < count; i += 3) values[i] = 0.25F * static_cast<float>(i % 19) - 2.25F;
  return values;
}

TEST_CASE("FindNearestLevels and the others: the reference's with each instruction set") {
  const LevelBins all_bins[] = {{.step = 0.5F, .level_max = 7},  // Ties.
                                {.step = 0.03F, .level_max = 32767},
                                {.step = 1e-7F, .level_max = 32767},
                                {.step = 3, .level_max = 1}};
  testing::ForEachTarget([&] {
    for (std::size_t length = 0; length <= 140; ++length) {
      CAPTURE(length);
      RngStream rng(length);
      const auto values = SomeValues(length, rng);
      std::vector<float> uniforms(length);
      rng.FillUniform(uniforms);
      std::vector<std::int16_t> levels(length);
      std::vector<std::int16_t> expected(length);
      for (const LevelBins& bins : all_bins) {
        CAPTURE(bins.step);
        FindNearestLevels(values, bins, levels);
        FindNearestLevelsReference(values, bins, expected);
        CHECK(levels == expected);
        FindRandomLevels(values, uniforms, bins, levels);
        FindRandomLevelsReference(values, uniforms, bins, expected);
        CHECK(levels == expected);
        for (const float zero : {0.5F, 0.75F, 1.0F}) {
          FindDeadZoneLevels(values, bins, zero, levels);
          FindDeadZoneLevelsReference(values, bins, zero, expected);
          CHECK(levels == expected);
        }
      }
    }
  });
}

TEST_CASE("AddLevelOffsets: the reference's with each instruction set, and no sum overflows") {
  testing::ForEachTarget([] {
    for (const std::size_t length : {0UL, 1UL, 31UL, 64UL, 1000UL, 20000UL}) {
      CAPTURE(length);
      for (const LevelBins& bins : {LevelBins{.step = 0.5F}, LevelBins{.step = 2}}) {
        RngStream rng(length);
        auto values = SomeValues(length, rng);
        if (length == 20000) values.assign(length, 0.25F);  // Half a step below each level.
        std::vector<std::int16_t> levels(length);
        FindDeadZoneLevels(values, bins, 0.5F, levels);
        LevelOffsets offsets{.first = {5, 6}, .rest = {7, 8}};
        LevelOffsets expected = offsets;
        AddLevelOffsets(values, levels, bins, offsets);
        AddLevelOffsetsReference(values, levels, bins, expected);
        CHECK(offsets == expected);
      }
    }
  });
}

TEST_CASE("FindDeadZoneLevels: bins begin where they should") {
  const std::vector<float> values = {0, -0.0F, 1.49F, 1.5F, -1.5F, 2.99F, 3, -5, 1e30F};
  std::vector<std::int16_t> levels(values.size());
  FindDeadZoneLevels(values, {.step = 2, .level_max = 9}, 0.75F, levels);
  CHECK(levels == std::vector<std::int16_t>{0, 0, 0, 1, -1, 1, 2, -3, 9});
}

}  // namespace
}  // namespace fl::kernels
