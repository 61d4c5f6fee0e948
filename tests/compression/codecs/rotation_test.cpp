#include "fl/compression/codecs/rotation.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include "fl/common/random/rng_stream.h"

namespace fl {
namespace {

TEST_CASE("RotationUnits: whole blocks and one shorter unit cover the row") {
  const RotationUnits row{.block = 64, .count = 150};
  CHECK(row.units() == 3);
  CHECK(row.size(0) == 64);
  CHECK(row.first(2) == 128);
  CHECK(row.size(2) == 22);
  CHECK(RotationUnits{.block = 64, .count = 128}.units() == 2);
  CHECK(RotationUnits{.block = 64, .count = 0}.units() == 0);
}

TEST_CASE("ForTouchedUnits: parts are those of the range in their order") {
  const RotationUnits row{.block = 64, .count = 150};
  std::vector<std::vector<std::size_t>> parts;
  ForTouchedUnits(row, 60, 80, [&](std::size_t unit, std::size_t begin, std::size_t end) {
    parts.push_back({unit, begin, end});
  });
  CHECK(parts == std::vector<std::vector<std::size_t>>{{0, 60, 64}, {1, 64, 128}, {2, 128, 140}});
  ForTouchedUnits(row, 150, 0, [](std::size_t, std::size_t, std::size_t) { CHECK(false); });
}

TEST_CASE("RotateUnit: any size keeps the norm and is undone") {
  for (const std::size_t size : {1UL, 2UL, 3UL, 31UL, 33UL, 64UL, 100UL, 1000UL, 4095UL, 4096UL}) {
    CAPTURE(size);
    std::vector<float> original(size);
    RngStream(size).FillNormal(original);
    std::vector<float> values = original;
    RotateUnit(7, 2, values, values);
    double before = 0;
    double after = 0;
    for (std::size_t i = 0; i < size; ++i) {
      before += std::pow(static_cast<double>(original[i]), 2.0);
      after += std::pow(static_cast<double>(values[i]), 2.0);
    }
    CHECK(after == doctest::Approx(before).epsilon(1e-6));
    RotateUnitBack(7, 2, values);
    for (std::size_t i = 0; i < size; ++i) CHECK(std::fabs(values[i] - original[i]) < 3e-6F);
  }
}

// A value alone in a unit of n spreads over m >= n / 2 places or more: none is above the root of
// 1 / m but by what two maps can add up.
TEST_CASE("RotateUnit: a spike spreads over the unit, whatever its place and the unit's size") {
  for (const std::size_t size : {64UL, 100UL, 127UL, 1000UL}) {
    CAPTURE(size);
    for (std::size_t place = 0; place < size; place += 9) {
      std::vector<float> values(size);
      values[place] = 1;
      RotateUnit(1, 0, values, values);
      const float largest = std::fabs(
          *std::ranges::max_element(values, {}, [](float value) { return std::fabs(value); }));
      CHECK(largest < 0.5F);
    }
  }
}

// Between two rotations of ones the correlation of independent signs has a standard deviation of
// 1 / sqrt(4096).
TEST_CASE("RotateUnit: seeds and units give rotations of their own") {
  const std::vector<float> ones(4096, 1.0F);
  const auto rotated = [&](std::uint32_t seed, std::size_t unit) {
    std::vector<float> values = ones;
    RotateUnit(seed, unit, values, values);
    return values;
  };
  const auto correlation = [](const std::vector<float>& a, const std::vector<float>& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i)
      sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    return std::fabs(sum) / 4096;
  };
  CHECK(rotated(1, 0) == rotated(1, 0));
  CHECK(correlation(rotated(1, 0), rotated(2, 0)) < 5.0 / 64);
  CHECK(correlation(rotated(1, 0), rotated(1, 1)) < 5.0 / 64);
}

}  // namespace
}  // namespace fl
