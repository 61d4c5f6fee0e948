#include "fl/client/core/model_patch.h"

#include <doctest/doctest.h>

#include "fl/common/wire/model_change.h"
#include "fl/compression/lattice.h"
#include "fl/tests/support/result.h"

namespace fl::client {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;

std::shared_ptr<const CheckedPlan> PlanOf(const std::string& aggregation) {
  const std::string text =
      "name = \"small\"\nseed = 7\n[model]\ninput = [4]\nlayers = [\"dense 3\"]\n" + aggregation;
  return Get(CheckPlan(Get(ParsePlan(text, "plan")), "plan"));
}

std::shared_ptr<const CheckedPlan> LatticePlan() {
  return PlanOf("[aggregation]\npublish = \"lattice\"\nlattice_step = 0.25\n");
}

Lattice LatticeOf(const CheckedPlan& plan) {
  const NamedTensors start = InitialModel(plan);
  return {start.layout, start.values,
          plan.plan.aggregation.lattice_step.value_or(kFinestLatticeStep)};
}

// A change that moves each third coordinate by `step`.
LatticeChange SomeChange(const CheckedPlan& plan, std::int32_t step, unsigned fineness = 0) {
  LatticeChange change{fineness, std::vector<std::int32_t>(plan.graph.parameters.total(), 0)};
  for (std::size_t i = 0; i < change.levels.size(); i += 3) change.levels[i] = step;
  return change;
}

TEST_CASE("ApplyModelPatch: walks the lattice from version 0 on") {
  const auto plan = LatticePlan();
  const Lattice lattice = LatticeOf(*plan);
  const TensorLayout& layout = plan->graph.parameters;
  const NamedTensors start = InitialModel(*plan);
  const Bytes one = EncodeLatticeChange(SomeChange(*plan, 1), layout);
  const Bytes two = EncodeLatticeChange(SomeChange(*plan, -3), layout);
  const NamedTensors first = Get(ApplyModelPatch(*plan, start, one));
  const NamedTensors second = Get(ApplyModelPatch(*plan, first, two));
  CHECK(second.values == lattice.ModelAt(SomeChange(*plan, -2).levels));
}

TEST_CASE("ApplyModelPatch: makes a released model between the points") {
  const auto plan = LatticePlan();
  const Bytes change =
      EncodeLatticeChange(SomeChange(*plan, 5, kReleasedFineness), plan->graph.parameters);
  const NamedTensors released = Get(ApplyModelPatch(*plan, InitialModel(*plan), change));
  CHECK(released.values == LatticeOf(*plan).ModelAt(SomeChange(*plan, 5).levels, 4));
}

TEST_CASE("ApplyModelPatch: takes a change of bits on a lattice too") {
  const auto plan = LatticePlan();
  const NamedTensors start = InitialModel(*plan);
  NamedTensors next = start;
  next.values[2] += 0.125F;
  const Bytes change = wire::EncodeModelChange(start.values, next.values);
  CHECK(Get(ApplyModelPatch(*plan, start, change)) == next);
}

TEST_CASE("ChangeStart: is version 0, or zeros where the plan publishes in bf16") {
  const auto exact = PlanOf("");
  CHECK(ChangeStart(*exact) == InitialModel(*exact));
  const auto half = PlanOf("[aggregation]\npublish = \"half\"\n");
  CHECK(ChangeStart(*half) == NamedTensors(half->graph.parameters));
}

TEST_CASE("ApplyModelPatch: refuses a lattice that the plan does not have") {
  const auto plan = PlanOf("");
  const Bytes change = EncodeLatticeChange(SomeChange(*plan, 1), plan->graph.parameters);
  CHECK(CodeOf(ApplyModelPatch(*plan, InitialModel(*plan), change)) == ErrorCode::kMalformed);
}

TEST_CASE("ApplyModelPatch: refuses a base beside the lattice and a point beyond its bounds") {
  const auto plan = LatticePlan();
  const TensorLayout& layout = plan->graph.parameters;
  const Bytes change = EncodeLatticeChange(SomeChange(*plan, 1), layout);
  NamedTensors beside = InitialModel(*plan);
  beside.values[0] += 0.125F;
  CHECK(CodeOf(ApplyModelPatch(*plan, beside, change)) == ErrorCode::kMalformed);
  const Bytes far = EncodeLatticeChange(SomeChange(*plan, kLatticePointMax + 1), layout);
  CHECK(CodeOf(ApplyModelPatch(*plan, InitialModel(*plan), far)) == ErrorCode::kLimitExceeded);
}

TEST_CASE("ApplyModelPatch: refuses a change cut anywhere") {
  const auto plan = LatticePlan();
  const Bytes change = EncodeLatticeChange(SomeChange(*plan, 2), plan->graph.parameters);
  for (std::size_t size = 3; size < change.size(); ++size) {
    CHECK(CodeOf(ApplyModelPatch(*plan, InitialModel(*plan), ByteSpan(change).first(size))) ==
          ErrorCode::kMalformed);
  }
}

}  // namespace
}  // namespace fl::client
