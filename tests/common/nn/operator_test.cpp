#include "fl/common/nn/operator.h"

#include <algorithm>

#include <doctest/doctest.h>

#include "fl/common/nn/internal/backward.h"
#include "fl/common/nn/internal/forward.h"
#include "fl/tests/common/nn/small_models.h"

namespace fl::nn {
namespace {

bool Has(OpKind kind, std::string_view slot) {
  const OperatorRules& rules = RulesOf(kind);
  if (slot == "forward") return internal::FindForward(kind) != nullptr;
  if (slot == "backward") return internal::FindBackward(kind) != nullptr;
  if (slot == "cost") return rules.cost != nullptr;
  if (slot == "quantize") return rules.quantize.has_value();
  if (slot == "prune") return rules.prune.has_value();
  if (slot == "export") return rules.onnx.has_value();
  FAIL("a slot that the test does not know: ", slot);
  return false;
}

TEST_CASE("Operators: each has every required rule") {
  for (const OpKind kind : kOpKinds) {
    CHECK(RulesOf(kind).kind == kind);
    for (const RuleSlot& slot : kRuleSlots) {
      CAPTURE(RulesOf(kind).name);
      CAPTURE(slot.name);
      const bool present = Has(kind, slot.name);
      CHECK((present || !slot.required));
    }
  }
}

TEST_CASE("CostOf: a dense layer costs two operations a weight and one a bias") {
  const OperatorCost cost = CostOf(testing::Build({10}, {"dense 5"}));
  CHECK(cost.flops == 105);
  CHECK(cost.parameter_bytes == 220);
  CHECK(cost.activation_bytes == 60);
}

TEST_CASE("CostOf: factors change the parameters that are read and not the operations") {
  const OperatorCost cost = CostOf(testing::Build({10}, {"dense 5 fedpara=2"}));
  CHECK(cost.flops == 105);
  CHECK(cost.parameter_bytes == (2 * (10 * 2 + 2 * 5) + 5) * 4);
  CHECK(CostOf(testing::Build({4, 4, 2}, {"conv 3 3x3 same lora=2"}, "mean_squared_error")).flops ==
        16 * (2 * 54 + 3));
}

TEST_CASE("CostOf: a convolution costs its weights once a pixel") {
  const OperatorCost cost =
      CostOf(testing::Build({4, 4, 2}, {"conv 3 3x3 same"}, "mean_squared_error"));
  CHECK(cost.flops == 16 * (2 * 54 + 3));
  CHECK(cost.parameter_bytes == 57 * 4);
}

}  // namespace
}  // namespace fl::nn
