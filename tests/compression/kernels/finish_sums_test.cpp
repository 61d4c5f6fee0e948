#include "fl/compression/kernels/finish_sums.h"

#include <bit>
#include <vector>

#include <doctest/doctest.h>
#include <hwy/targets.h>

#include "fl/common/random/rng_stream.h"

namespace fl::kernels {
namespace {

std::vector<double> SumsFor(std::size_t length) {
  std::vector<float> values(length);
  RngStream(length).FillNormal(values);
  std::vector<double> sums(length);
  for (std::size_t i = 0; i < length; ++i) sums[i] = 1e-3 + 7.0 * double{values[i]};
  if (length > 2) sums[1] = -0.0;
  if (length > 3) sums[2] = 1e300;  // Beyond what fp32 holds.
  return sums;
}

// Runs the test with each instruction set that this machine has, for lengths around the vectors'.
template <typename Test>
void ForTargetsAndLengths(Test test) {
  for (std::int64_t left = hwy::SupportedTargets(); left != 0; left &= left - 1) {
    const std::int64_t target = left & -left;
    CAPTURE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    for (std::size_t length = 0; length <= 35; ++length) {
      CAPTURE(length);
      test(length);
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST_CASE("AddToSums: every instruction set gives the reference's bits") {
  ForTargetsAndLengths([](std::size_t length) {
    std::vector<float> values(length);
    RngStream(9).FillNormal(values);
    std::vector<double> sums = SumsFor(length);
    std::vector<double> expected = sums;
    AddToSums(values, sums);
    AddToSumsReference(values, expected);
    CHECK(sums == expected);
  });
}

TEST_CASE("DivideSums: every instruction set gives the reference's bits, and no negative zero") {
  ForTargetsAndLengths([](std::size_t length) {
    const std::vector<double> sums = SumsFor(length);
    std::vector<float> out(length);
    std::vector<float> expected(length);
    DivideSums(sums, 3.0, out);
    DivideSumsReference(sums, 3.0, expected);
    for (std::size_t i = 0; i < length; ++i) {
      CHECK(std::bit_cast<std::uint32_t>(out[i]) == std::bit_cast<std::uint32_t>(expected[i]));
      CHECK(std::bit_cast<std::uint32_t>(out[i]) != 0x80000000U);
    }
  });
}

}  // namespace
}  // namespace fl::kernels
