#include "fl/compression/deploy/size_budget.h"

#include <cmath>

#include <doctest/doctest.h>

namespace fl::deploy {
namespace {

TEST_CASE("SizeBudget: the tighter of share and number holds, each for itself") {
  SizeBudget budget;
  CHECK(!budget.any());
  CHECK(std::isinf(budget.AtMost({100, 200}).macs));
  budget.macs_share = 0.5;
  CHECK(budget.any());
  CHECK(budget.AtMost({100, 200}).macs == 50);
  CHECK(std::isinf(budget.AtMost({100, 200}).parameters));
  budget.macs_max = 40;
  budget.parameters_share = 0.25;
  CHECK(budget.AtMost({100, 200}) == ModelSize{40, 50});
  budget.macs_max = 60;
  CHECK(budget.AtMost({100, 200}) == ModelSize{50, 50});
}

TEST_CASE("WhyUnreached: names what is too much, and what was reached") {
  CHECK(Fits({10, 20}, {10, 20}));
  CHECK(!Fits({11, 20}, {10, 20}));
  CHECK(!Fits({10, 21}, {10, 20}));
  CHECK(WhyUnreached({10, 20}, {10, 20}, "because").empty());
  CHECK(WhyUnreached({11, 20}, {10, 20}, "because") ==
        "expected at most 10 MACs, reached 11, because");
  CHECK(WhyUnreached({11, 30}, {10, 20}, "because") ==
        "expected at most 10 MACs, reached 11 and 20 parameters, reached 30, because");
}

}  // namespace
}  // namespace fl::deploy
