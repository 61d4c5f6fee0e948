#include "fl/client/state/carried_over.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <doctest/doctest.h>

#include "fl/client/state/error_feedback.h"
#include "fl/client/state/momentum.h"
#include "fl/tests/client/fake_federation.h"
#include "fl/tests/support/property.h"
#include "fl/tests/support/result.h"

namespace fl::client {
namespace {

using fl::testing::CodeOf;
using fl::testing::ForAll;
using fl::testing::Get;
using testing::MakePlan;

std::string PlanText(const std::string& recipe, std::size_t classes = 5,
                     const std::string& compression = "", const std::string& training = "") {
  return "name = \"life\"\n[model]\ninput = [6]\nlayers = [\"dense 12\", \"relu\", \"dense " +
         std::to_string(classes) + "\"]\n[training]\n" + training + "\n[compression]\n" +
         compression + "\n[[compression.recipe]]\ntensors = \"*\"\nrecipe = \"" + recipe + "\"\n";
}

std::shared_ptr<NamedTensors> Decoded(const StagedUpdate& staged, const CheckedPlan& plan) {
  return std::make_shared<NamedTensors>(*Get(ErrorFeedback::DecodeOwn(
      staged.update, plan.delta, {staged.round_parameters, staged.round})));
}

// Tensors by name and shape, summed up in binary64 so that the sums themselves are exact enough.
class Ledger {
 public:
  void Add(const NamedTensors& tensors) {
    for (std::size_t i = 0; i < tensors.layout.size(); ++i) {
      std::vector<double>& sum = At(tensors.layout[i]);
      for (std::size_t k = 0; k < sum.size(); ++k)
        sum[k] += static_cast<double>(tensors.tensor(i)[k]);
    }
  }
  // Those that the layout does not have.
  void AddMissing(const NamedTensors& tensors, const TensorLayout& layout) {
    for (std::size_t i = 0; i < tensors.layout.size(); ++i) {
      const TensorSpec& spec = tensors.layout[i];
      const auto found = layout.Find(spec.name);
      if (found && layout[*found].shape == spec.shape) continue;
      NamedTensors one(TensorLayout({spec}));
      std::ranges::copy(tensors.tensor(i), one.values.begin());
      Add(one);
    }
  }
  // The largest distance to another ledger's sums.
  double DistanceTo(const Ledger& other) const {
    double largest = 0;
    for (const auto& [name, sum] : sums_) {
      const auto found = other.sums_.find(name);
      for (std::size_t k = 0; k < sum.size(); ++k)
        largest = std::max(
            largest, std::abs(sum[k] - (found == other.sums_.end() ? 0.0 : found->second[k])));
    }
    return largest;
  }

 private:
  std::vector<double>& At(const TensorSpec& spec) {
    std::vector<double>& sum = sums_[spec.name + " " + spec.shape.ToText()];
    sum.resize(spec.shape.count());
    return sum;
  }
  std::map<std::string, std::vector<double>> sums_;
};

// One device's life without training: random changes, and whatever may become of an update.
class Life {
 public:
  explicit Life(RngStream& rng) : rng_(&rng) {}

  // Encodes and stages a change by the plan, then settles it one way or the other.
  void LiveRound(const CheckedPlan& plan) {
    ++round_;
    CrashSometimes();
    Stage(plan);
    CrashSometimes();  // The update goes on after the restart; it is not made again.
    const auto sent = Decoded(*state_.staged, plan);
    if (rng_->UniformInteger(3) == 0) {
      REQUIRE(GiveBackStaged(state_, &plan));
      if (!KeepsResidual(plan)) gone_.Add(*sent);
    } else {
      gone_.Add(*sent);
      CrashSometimes();  // The server counts it, the device does not know: it asks again.
      CommitStaged(state_, &plan);
    }
    CrashSometimes();
    CHECK_FALSE(state_.staged);
  }

  // Between what was added and what is gone or left: zero but for rounding.
  double Imbalance() const {
    Ledger whole = gone_;
    if (state_.residual != nullptr) whole.Add(*state_.residual);
    return std::max(whole.DistanceTo(added_), added_.DistanceTo(whole));
  }
  // Each round rounds a coordinate once when the residual is added, once when what was sent is
  // taken off and once when it is given back, each time by at most 2^-24 of the largest magnitude.
  double Tolerance() const { return static_cast<double>(3 * round_) * 0x1p-24 * largest_; }

 private:
  void CrashSometimes() {
    if (rng_->UniformInteger(3) == 0) state_ = Get(DeviceState::Decode(state_.Encode()));
  }

  void Stage(const CheckedPlan& plan) {
    NamedTensors update(plan.graph.parameters);
    rng_->FillNormal(update.values);
    StagedUpdate staged;
    std::shared_ptr<const NamedTensors> residual;
    if (KeepsResidual(plan)) {
      if (state_.residual != nullptr) gone_.AddMissing(*state_.residual, plan.delta.covered());
      BringForward(state_, plan, round_);
      residual = state_.residual;
      staged.velocity =
          Accelerate(update, state_.velocity, plan.plan.compression.momentum, plan.delta.covered());
    }
    std::size_t frozen = 0;
    added_.Add(
        *RemapResidual(std::make_shared<const NamedTensors>(update), plan.delta.covered(), frozen));
    const ErrorFeedback feedback(residual, KeepsResidual(plan));
    feedback.Compensate(update);
    for (const float value : update.values)
      largest_ = std::max(largest_, static_cast<double>(std::fabs(value)));
    staged.round = round_;
    const RoundParameters parameters{plan.delta.InitialRoundParameters().bytes, round_};
    staged.round_parameters = parameters.bytes;
    EncodedDelta encoded = feedback.Encode(update, plan.delta, parameters,
                                           RngStream(round_).Child("draw", rng_->NextU64()));
    staged.residual = std::move(encoded.residual);
    wire::Update wire_update;
    wire_update.streams.push_back({wire::kStreamDelta, std::move(encoded.entries)});
    staged.update = wire::EncodeUpdate(wire_update);
    state_.staged = std::move(staged);
  }

  RngStream* rng_;
  DeviceState state_;
  std::uint64_t round_ = 0;
  double largest_ = 0;
  Ledger added_;  // What training made, and momentum made of it.
  Ledger gone_;   // What was accepted; and what is lost by rule: residuals that no longer fit the
                  // model, refused updates by a plan that keeps none.
};

TEST_CASE("CarriedOver: what was accepted and what remains is the sum of all changes") {
  for (const char* recipe :
       {"top_k 5%", "top_k 2% warmup=6 | ternary | context", "top_k 10% | quantize 4",
        "quantize 2 stochastic", "dead_zone 3 | context", "threshold 2 | quantize 4",
        "low_rank 1 | quantize step=1", "quantize 4 scale=shared range=2", "sign", "fp16"}) {
    for (const char* momentum : {"0.0", "0.9"}) {
      CAPTURE(recipe);
      CAPTURE(momentum);
      const std::string more = std::string("momentum = ") + momentum;
      // Matrices alone have factors; the vectors are gathered.
      const bool factors = std::string(recipe).starts_with("low_rank");
      const auto plan =
          MakePlan(PlanText(recipe, 5, more + "\ngather_below = " + (factors ? "20" : "0")));
      ForAll(6, [&](RngStream& rng) {
        Life life(rng);
        for (int round = 0; round < 25; ++round) {
          life.LiveRound(*plan);
          REQUIRE(life.Imbalance() <= life.Tolerance());
        }
      });
    }
  }
}

TEST_CASE("CarriedOver: a new plan loses what its model has no place for and nothing else") {
  const std::vector<std::shared_ptr<const CheckedPlan>> plans = {
      MakePlan(PlanText("top_k 5% | ternary")),
      MakePlan(PlanText("top_k 5% | quantize 4", 7, "momentum = 0.5\ngather_below = 0")),
      MakePlan(PlanText("dead_zone 3", 5, "momentum = 0.9", "freeze = [\"dense1.*\"]")),
      MakePlan(PlanText("raw")),
      MakePlan(PlanText("sign", 3, "gather_below = 0")),
  };
  ForAll(40, [&](RngStream& rng) {
    Life life(rng);
    for (int round = 0; round < 25; ++round) {
      life.LiveRound(*plans[rng.UniformInteger(plans.size())]);
      REQUIRE(life.Imbalance() <= life.Tolerance());
    }
  });
}

// A state with one staged update by the plan, of a residual and a velocity that are known.
struct Staged {
  explicit Staged(const std::string& text) : plan(MakePlan(text)) {
    RngStream rng(3);
    NamedTensors update(plan->graph.parameters);
    rng.FillNormal(update.values);
    whole = std::make_shared<const NamedTensors>(update);
    state.residual = std::make_shared<const NamedTensors>(plan->graph.parameters);
    state.velocity = state.residual;
    state.residual_round = 2;
    EncodedDelta encoded =
        ErrorFeedback(nullptr, true).Encode(update, plan->delta, {{}, 4}, RngStream(4));
    wire::Update wire_update;
    wire_update.streams.push_back({wire::kStreamDelta, std::move(encoded.entries)});
    StagedUpdate staged;
    staged.round = 4;
    staged.update = wire::EncodeUpdate(wire_update);
    staged.residual = encoded.residual;
    staged.velocity = whole;
    left_out = encoded.residual;
    state.staged = std::move(staged);
  }

  std::shared_ptr<const CheckedPlan> plan;
  std::shared_ptr<const NamedTensors> whole;
  std::shared_ptr<const NamedTensors> left_out;
  DeviceState state;
};

TEST_CASE("CarriedOver: an acknowledged update stops where it was sent and moves on elsewhere") {
  Staged staged(PlanText("top_k 5% | ternary", 5, "momentum = 0.9"));
  const auto sent = Decoded(*staged.state.staged, *staged.plan);
  CommitStaged(staged.state, staged.plan.get());
  CHECK(staged.state.residual == staged.left_out);
  CHECK(staged.state.residual_round == 4);
  REQUIRE(staged.state.velocity != nullptr);
  std::size_t stopped = 0;
  for (std::size_t i = 0; i < sent->values.size(); ++i) {
    CHECK(staged.state.velocity->values[i] ==
          (sent->values[i] != 0 ? 0.0F : staged.whole->values[i]));
    stopped += sent->values[i] != 0 ? 1 : 0;
  }
  CHECK(stopped > 0);
  CHECK(stopped < sent->values.size());
}

TEST_CASE("CarriedOver: a refused update keeps its velocity whole") {
  Staged staged(PlanText("top_k 5% | quantize 8", 5, "momentum = 0.9"));
  REQUIRE(GiveBackStaged(staged.state, staged.plan.get()));
  CHECK(staged.state.velocity == staged.whole);
  CHECK(staged.state.residual_round == 4);
  for (std::size_t i = 0; i < staged.whole->values.size(); ++i)
    CHECK(std::fabs(staged.state.residual->values[i] - staged.whole->values[i]) < 1e-6F);
}

TEST_CASE("CarriedOver: without the plan an acknowledged update starts the velocity anew") {
  Staged staged(PlanText("top_k 5% | ternary", 5, "momentum = 0.9"));
  CommitStaged(staged.state, nullptr);
  CHECK(staged.state.residual == staged.left_out);
  CHECK(staged.state.velocity == nullptr);
}

TEST_CASE("CarriedOver: without the plan a refused update keeps what was left out") {
  Staged staged(PlanText("top_k 5% | ternary"));
  CHECK(CodeOf(GiveBackStaged(staged.state, nullptr)) == ErrorCode::kNotFound);
  CHECK(staged.state.residual == staged.left_out);
  CHECK_FALSE(staged.state.staged);
}

TEST_CASE("CarriedOver: evaluations and deployments change neither residual nor velocity") {
  for (const auto kind : {wire::TaskKind::kEvaluate, wire::TaskKind::kDeploy}) {
    for (const bool accepted : {false, true}) {
      Staged staged(PlanText("top_k 5% | ternary", 5, "momentum = 0.9"));
      staged.state.staged->kind = kind;
      const DeviceState before = staged.state;
      if (accepted) {
        CommitStaged(staged.state, staged.plan.get());
      } else {
        REQUIRE(GiveBackStaged(staged.state, staged.plan.get()));
      }
      CHECK(staged.state.residual == before.residual);
      CHECK(staged.state.velocity == before.velocity);
      CHECK(staged.state.residual_round == 2);
      CHECK_FALSE(staged.state.staged);
    }
  }
}

TEST_CASE("CarriedOver: a plan that keeps no residual leaves an earlier one as it is") {
  Staged staged(PlanText("raw"));
  const auto before = staged.state.residual;
  CommitStaged(staged.state, staged.plan.get());
  CHECK(staged.state.residual == before);
}

TEST_CASE("CarriedOver: what is too old is dropped with its velocity, tensors counted once") {
  Staged staged(PlanText("top_k 5%", 5, "momentum = 0.9\nresidual_rounds_max = 6"));
  staged.state.staged.reset();
  DroppedTensors dropped = BringForward(staged.state, *staged.plan, 8);
  CHECK(dropped.too_old == 0);
  CHECK(staged.state.residual != nullptr);
  dropped = BringForward(staged.state, *staged.plan, 9);
  CHECK(dropped.too_old == 4);
  CHECK(dropped.misfits == 0);
  CHECK(staged.state.residual == nullptr);
  CHECK(staged.state.velocity == nullptr);
  CHECK(staged.state.counters.residual_tensors_dropped == 4);
}

TEST_CASE("Accelerate: each velocity is the changes so far, the older the less") {
  const TensorLayout layout({{"a", Shape{2}}, {"frozen", Shape{1}}});
  const TensorLayout covered({{"a", Shape{2}}});
  std::shared_ptr<const NamedTensors> velocity;
  const float expected[] = {8, 12, 14};  // 8, 8 + 4, 8 + 4 + 2.
  for (const float each : expected) {
    NamedTensors delta(layout);
    delta.values = {8, -8, 0};
    velocity = Accelerate(delta, velocity, 0.5, covered);
    CHECK(delta.values == std::vector<float>{each, -each, 0});
    CHECK(velocity->layout == covered);
    CHECK(velocity->values == std::vector<float>{each, -each});
  }
  NamedTensors delta(layout);
  CHECK(Accelerate(delta, velocity, 0, covered) == nullptr);
  CHECK(NormL2(delta.values) == 0);
}

}  // namespace
}  // namespace fl::client
