#include "fl/compression/kernels/partial_sums.h"

#include <vector>

#include <doctest/doctest.h>

#include "fl/common/random/rng_stream.h"
#include "fl/tests/support/simd_targets.h"

namespace fl::kernels {
namespace {

TEST_CASE("AddSquares, AddProducts: the reference's bits with each instruction set") {
  testing::ForEachTarget([] {
    for (std::size_t length = 0; length <= 70; ++length) {
      CAPTURE(length);
      std::vector<float> values(length);
      std::vector<float> factors(length);
      RngStream rng(length);
      rng.FillNormal(values);
      rng.FillNormal(factors);
      PartialSums sums = {1, 2, 3, 4, 5, 6, 7, 8};
      PartialSums expected = sums;
      AddSquares(values, sums);
      AddSquaresReference(values, expected);
      CHECK(sums == expected);
      AddProducts(values, factors, sums);
      AddProductsReference(values, factors, expected);
      CHECK(sums == expected);
    }
  });
}

TEST_CASE("AddSquares: a row in pieces of eight adds up to the same bits") {
  std::vector<float> values(1000);
  RngStream(3).FillNormal(values);
  PartialSums whole{};
  AddSquares(values, whole);
  PartialSums pieces{};
  AddSquares(std::span(values).first(24), pieces);
  AddSquares(std::span(values).subspan(24), pieces);
  CHECK(pieces == whole);
  CHECK(Total({1, 2, 3, 4, 5, 6, 7, 8}) == 36);
}

}  // namespace
}  // namespace fl::kernels
