#include "fl/server/publish/stride_control.h"

#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include "fl/compression/lattice.h"

namespace fl::server {
namespace {

TEST_CASE("StepDeviation: counts the matrices that moved") {
  const TensorLayout layout({{"a.weight", {2, 2}}, {"a.bias", {2}}, {"frozen.weight", {1, 4}}});
  std::vector<float> before(layout.total(), 1.0F);
  std::vector<float> wanted = before;
  CHECK(StepDeviation(layout, before, wanted) == 0);
  for (std::size_t i = 0; i < 4; ++i) wanted[i] += i % 2 == 0 ? 3.0F : -1.0F;
  wanted[4] = 1000;
  CHECK(StepDeviation(layout, before, wanted) == doctest::Approx(std::sqrt(5.0)));
}

TEST_CASE("AfterStep: the first step sets a stride of ten to twenty deviations") {
  for (const double deviation : {0.0002, 0.001, 0.0033, 0.0051, 0.02}) {
    const StrideState state = AfterStep({}, deviation);
    const double stride = std::ldexp(kFinestLatticeStep, static_cast<int>(state.shift));
    CHECK(stride <= 20 * deviation);
    CHECK(stride > 10 * deviation);
  }
  CHECK(AfterStep({}, 1e-9).shift == 0);
  CHECK(AfterStep({}, 1e9).shift == kLatticeShiftMax);
}

TEST_CASE("AfterStep: the stride grows finer as the steps shrink and never coarser") {
  StrideState state = AfterStep({}, 0.0033);
  const unsigned first = state.shift;
  for (int round = 0; round < 20; ++round) state = AfterStep(state, 0.02);
  CHECK(state.shift == first);
  unsigned last = first;
  for (int round = 0; round < 100; ++round) {
    state = AfterStep(state, 0.0008);
    CHECK(state.shift <= last);
    last = state.shift;
  }
  // 2^-4 down to the largest power of two within 32 deviations.
  CHECK(last == first - 2);
}

TEST_CASE("AfterStep: a step of nothing and a step beyond numbers change nothing") {
  const StrideState state = AfterStep({}, 0.0033);
  CHECK(AfterStep(state, 0) == state);
  CHECK(AfterStep(state, std::numeric_limits<double>::infinity()) == state);
  CHECK(AfterStep(state, std::numeric_limits<double>::quiet_NaN()) == state);
  CHECK(AfterStep({}, 0) == StrideState{});
}

TEST_CASE("FittingShift: the finest stride that fits, back by one a round") {
  const auto halving = [](unsigned shift) { return std::uint64_t{1 << 16} >> shift; };
  StrideState state{0.003F, 4, 4};
  CHECK(FittingShift(state, 0, halving) == 4);
  CHECK(FittingShift(state, 1 << 12, halving) == 4);
  CHECK(FittingShift(state, (1 << 12) - 1, halving) == 5);
  CHECK(FittingShift(state, 1 << 9, halving) == 7);
  state.published = 9;
  CHECK(FittingShift(state, 1 << 12, halving) == 8);
  CHECK(FittingShift(state, 0, halving) == 4);
  const auto huge = [](unsigned) { return std::uint64_t{1} << 40; };
  CHECK(FittingShift(state, 1, huge) == kLatticeShiftMax);
}

TEST_CASE("StrideStateOf: gives back what was kept") {
  const StrideState state{0.003F, 8, 9};
  CHECK(StrideStateOf(ToTensor(state)) == state);
  CHECK(StrideStateOf({}) == StrideState{});
}

TEST_CASE("UsualLag: a population over those who are asked in a round") {
  RoundsConfig rounds;
  rounds.population_min = 100;
  rounds.goal = 10;
  CHECK(UsualLag(rounds) == 10);
  rounds.over_select = 1.3;
  CHECK(UsualLag(rounds) == 8);
  rounds.population_min = 1;
  CHECK(UsualLag(rounds) == 1);
}

}  // namespace
}  // namespace fl::server
