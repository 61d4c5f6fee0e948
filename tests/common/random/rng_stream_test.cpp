#include "fl/common/random/rng_stream.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <vector>

#include <doctest/doctest.h>

#include "fl/common/random/internal/philox.h"
#include "fl/tests/support/property.h"

namespace fl::testing {
namespace {

RngStream GoldenStream() {
  return RngStream(42).Child("test");
}

template <typename F>
auto Draw(std::size_t count, const F& next) {
  RngStream rng = GoldenStream();
  std::vector<decltype(next(rng))> values;
  for (std::size_t i = 0; i < count; ++i) values.push_back(next(rng));
  return values;
}

// Mean and variance of 20,000 draws.
template <typename F>
std::array<double, 2> Moments(const F& next) {
  RngStream rng(7);
  constexpr int kDraws = 20000;
  double sum = 0;
  double squares = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double value = next(rng);
    sum += value;
    squares += value * value;
  }
  const double mean = sum / kDraws;
  return {mean, squares / kDraws - mean * mean};
}

}  // namespace

TEST_CASE("Philox: gives the known answers of its authors") {
  using Block = std::array<std::uint32_t, 4>;
  CHECK(internal::Philox({0, 0, 0, 0}, {0, 0}) ==
        Block{0x6627E8D5U, 0xE169C58DU, 0xBC57AC4CU, 0x9B00DBD8U});
  CHECK(internal::Philox({~0U, ~0U, ~0U, ~0U}, {~0U, ~0U}) ==
        Block{0x408F276DU, 0x41C83B0EU, 0xA20BC7C6U, 0x6D5451FDU});
  CHECK(internal::Philox({0x243F6A88U, 0x85A308D3U, 0x13198A2EU, 0x03707344U},
                         {0xA4093822U, 0x299F31D0U}) ==
        Block{0xD16CFE09U, 0x94FDCCEBU, 0x5001E420U, 0x24126EA1U});
}

TEST_CASE("RngStream: the first integers of a stream are golden") {
  CHECK(
      Draw(5, [](RngStream& rng) { return rng.NextU32(); }) ==
      std::vector<std::uint32_t>{0xD63E5AC3U, 0xFE0EF16AU, 0x97C016D3U, 0x8BAD962EU, 0xA3E08D65U});
  CHECK(Draw(3, [](RngStream& rng) { return rng.NextU64(); }) ==
        std::vector<std::uint64_t>{0xFE0EF16AD63E5AC3U, 0x8BAD962E97C016D3U, 0x783B7E45A3E08D65U});
  CHECK(Draw(6, [](RngStream& rng) { return rng.UniformInteger(1000); }) ==
        std::vector<std::uint64_t>{992, 545, 469, 329, 437, 31});
}

TEST_CASE("RngStream: the first fractions of a stream are golden") {
  CHECK(Draw(3, [](RngStream& rng) { return rng.Uniform(); }) ==
        std::vector<float>{0x1.AC7CB4p-1F, 0x1.FC1DE2p-1F, 0x1.2F802Cp-1F});
  CHECK(Draw(3, [](RngStream& rng) { return rng.UniformDouble(); }) ==
        std::vector<double>{0x1.FC1DE2D5AC7CBp-1, 0x1.175B2C5D2F802p-1, 0x1.E0EDF9168F822p-2});
}

TEST_CASE("RngStream: the first draws of distributions are golden") {
  // log and pow are the C library's, so the last digit may differ.
  const auto normal = Draw(4, [](RngStream& rng) { return rng.Normal(); });
  const std::array<double, 4> expected = {0.208985165, 0.0193604268, -0.360263288, -2.02660561};
  for (std::size_t i = 0; i < 4; ++i)
    CHECK(normal[i] == doctest::Approx(expected[i]).epsilon(1e-6));
  const auto large = Draw(3, [](RngStream& rng) { return rng.Gamma(2.5); });
  const std::array<double, 3> expected_large = {2.48907242696109, 2.19528956794976,
                                                2.07568202606871};
  for (std::size_t i = 0; i < 3; ++i)
    CHECK(large[i] == doctest::Approx(expected_large[i]).epsilon(1e-6));
  const auto small = Draw(3, [](RngStream& rng) { return rng.Gamma(0.5); });
  const std::array<double, 3> expected_small = {0.152615510585083, 0.0011623258335057,
                                                0.409811988355328};
  for (std::size_t i = 0; i < 3; ++i)
    CHECK(small[i] == doctest::Approx(expected_small[i]).epsilon(1e-6));
}

TEST_CASE("RngStream: a shuffle is golden and keeps every element") {
  std::vector<int> values(10);
  std::iota(values.begin(), values.end(), 0);
  GoldenStream().Shuffle(std::span(values));
  CHECK(values == std::vector<int>{1, 7, 5, 8, 0, 6, 2, 3, 4, 9});
  std::ranges::sort(values);
  CHECK(values == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
}

TEST_CASE("RngStream: paths of names are golden") {
  CHECK(RngStream(42).NextU32() == 0xA1D7A484U);
  CHECK(RngStream(42).Child("client", "device-0000").NextU32() == 0x6058BD00U);
  CHECK(RngStream(42).Child("client", 7).Child("round", 3).NextU32() == 0x81CFFD45U);
}

TEST_CASE("RngStream: a child does not depend on how much was drawn before") {
  RngStream used(5);
  for (int i = 0; i < 1000; ++i) used.NextU32();
  CHECK(used.Child("a", 1).NextU64() == RngStream(5).Child("a", 1).NextU64());
  RngStream parent(5);
  const std::uint32_t first = RngStream(5).NextU32();
  parent.Child("a").NextU64();
  CHECK(parent.NextU32() == first);
}

TEST_CASE("RngStream: children of different names differ") {
  std::vector<std::uint64_t> firsts;
  for (const char* purpose : {"a", "b", "ab", ""}) {
    for (std::uint64_t index = 0; index < 200; ++index)
      firsts.push_back(RngStream(1).Child(purpose, index).NextU64());
  }
  firsts.push_back(RngStream(1).Child("a").Child("b").NextU64());
  firsts.push_back(RngStream(1).Child("b").Child("a").NextU64());
  firsts.push_back(RngStream(2).Child("a").NextU64());
  firsts.push_back(RngStream(1).NextU64());
  std::ranges::sort(firsts);
  CHECK(std::ranges::adjacent_find(firsts) == firsts.end());
}

TEST_CASE("RngStream: uniform draws stay within their bounds") {
  ForAll(20, [](RngStream& rng) {
    for (int i = 0; i < 500; ++i) {
      const float value = rng.Uniform();
      const double wide = rng.UniformDouble();
      const std::uint64_t bound = 1 + rng.NextU64() % 1000;
      if (value < 0 || value >= 1 || wide < 0 || wide >= 1 || rng.UniformInteger(bound) >= bound)
        FAIL("outside");
    }
  });
  RngStream rng(1);
  CHECK(rng.UniformInteger(1) == 0);
}

TEST_CASE("RngStream: each integer of a range is about equally frequent") {
  // 70,000 draws of 7: each count has mean 10,000 and deviation sqrt(70,000 * 6 / 49) = 93; five
  // deviations are 463.
  RngStream rng(3);
  std::array<int, 7> counts{};
  for (int i = 0; i < 70000; ++i) ++counts[rng.UniformInteger(7)];
  for (const int count : counts) CHECK(std::abs(count - 10000) < 463);
}

TEST_CASE("RngStream: normal draws have mean 0 and variance 1") {
  // Deviations of the estimates from 20,000 draws: 0.0071 and 0.01; the tolerance is five of them.
  const auto [mean, variance] =
      Moments([](RngStream& rng) { return static_cast<double>(rng.Normal()); });
  CHECK(std::abs(mean) < 0.036);
  CHECK(std::abs(variance - 1) < 0.05);
}

TEST_CASE("RngStream: Gamma draws have the shape as mean and variance") {
  for (const double shape : {0.1, 0.5, 1.0, 4.0}) {
    CAPTURE(shape);
    const auto [mean, variance] = Moments([shape](RngStream& rng) { return rng.Gamma(shape); });
    // Var(mean) = shape / n; Var(variance) = (mu4 - shape^2) / n with mu4 = 3 shape^2 + 6 shape;
    // five deviations.
    CHECK(std::abs(mean - shape) < 5 * std::sqrt(shape / 20000));
    CHECK(std::abs(variance - shape) < 5 * std::sqrt((2 * shape * shape + 6 * shape) / 20000));
  }
}

TEST_CASE("RngStream: filling a span draws one value after the other") {
  RngStream filled(9);
  RngStream single(9);
  std::vector<float> values(5);
  std::vector<std::uint32_t> words;
  filled.FillNormal(values);
  for (const float value : values) CHECK(value == single.Normal());
  for (const std::size_t size : {5UL, 0UL, 1UL, 2UL, 8UL, 203UL, 3UL, 64UL}) {
    values.resize(size);
    filled.FillUniform(values);
    for (const float value : values) CHECK(value == single.Uniform());
    words.resize(size);
    filled.FillWords(words);
    for (const std::uint32_t word : words) CHECK(word == single.NextU32());
  }
  CHECK(filled.NextU32() == single.NextU32());
}

}  // namespace fl::testing
