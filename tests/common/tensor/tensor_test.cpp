#include "fl/common/tensor/tensor.h"

#include <limits>
#include <utility>

#include <doctest/doctest.h>

namespace fl::testing {

TEST_CASE("Shape: its count is the product and a scalar has one element") {
  CHECK(Shape({28, 28, 1}).count() == 784);
  CHECK(Shape().count() == 1);
  CHECK(Shape({28, 28, 1}).ToText() == "28x28x1");
  CHECK(Shape().ToText() == "scalar");
}

TEST_CASE("TensorLayout: tensors lie one after the other") {
  const TensorLayout layout({{"a", {2, 3}}, {"b", {4}}, {"c", {}}});
  CHECK(layout.total() == 11);
  CHECK(layout.offset(1) == 6);
  CHECK(layout.offset(2) == 10);
  CHECK(layout.Find("b") == 1);
  CHECK(!layout.Find("d"));
  CHECK(TensorLayout().total() == 0);
}

TEST_CASE("NamedTensors: a tensor is a view of the flat vector") {
  NamedTensors tensors(TensorLayout({{"a", {2}}, {"b", {3}}}));
  tensors.tensor(1)[0] = 7;
  CHECK(tensors.values == std::vector<float>{0, 0, 7, 0, 0});
}

TEST_CASE("NormL2: sums in double so that large values do not overflow") {
  CHECK(NormL2(std::vector<float>{3, 4}) == 5.0);
  CHECK(NormL2(std::vector<float>{}) == 0.0);
  CHECK(NormL2(std::vector<float>{3e30F, 4e30F}) == doctest::Approx(5e30));
}

TEST_CASE("AllFinite: one value that is not is found at each position") {
  std::vector<float> values(53, -std::numeric_limits<float>::max());
  CHECK(AllFinite(values));
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    for (float& value : values) {
      const float kept = std::exchange(value, bad);
      CHECK_FALSE(AllFinite(values));
      value = kept;
    }
  }
}

TEST_CASE("AllFinite: NaN and infinity are found") {
  CHECK(AllFinite(std::vector<float>{1, -2}));
  CHECK(!AllFinite(std::vector<float>{1, std::numeric_limits<float>::quiet_NaN()}));
  CHECK(!AllFinite(std::vector<float>{-std::numeric_limits<float>::infinity()}));
}

}  // namespace fl::testing
