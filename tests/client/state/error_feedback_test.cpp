#include "fl/client/state/error_feedback.h"

#include <cmath>

#include <doctest/doctest.h>

#include "fl/client/privacy/clip_and_noise.h"
#include "fl/tests/support/property.h"
#include "fl/tests/support/result.h"

namespace fl::client {
namespace {

using testing::ForAll;
using testing::Get;

TensorLayout SomeLayout() {
  return TensorLayout({{"conv1.weight", Shape{3, 3, 2, 4}}, {"dense1.weight", Shape{20, 10}}});
}

SegmentPlan MakeRecipe(const std::string& recipe) {
  return Get(SegmentPlan::Uniform({recipe, {}}, SomeLayout()));
}

NamedTensors RandomDelta(RngStream& rng) {
  NamedTensors delta(SomeLayout());
  rng.FillNormal(delta.values);
  return delta;
}

void AddDecoded(const EncodedDelta& encoded, const SegmentPlan& recipe, NamedTensors& sum) {
  for (const wire::UpdateEntry& entry : encoded.entries) {
    const Codec& codec = *recipe.segments()[entry.segment].codec;
    const auto payload = Get(codec.Parse(entry.payload, {}, {}));
    std::vector<float> values(codec.count());
    codec.DecodeAdd(*payload, 0, 1.0F, values);
    recipe.Scatter(entry.segment, values, sum.values);
  }
}

void CheckNear(const NamedTensors& a, const NamedTensors& b, double tolerance) {
  REQUIRE(a.layout == b.layout);
  for (std::size_t i = 0; i < a.values.size(); ++i) {
    CAPTURE(i);
    REQUIRE(std::abs(static_cast<double>(a.values[i]) - static_cast<double>(b.values[i])) <=
            tolerance);
  }
}

TEST_CASE("ErrorFeedback: what was sent and what remains is the sum of all deltas") {
  for (const char* name : {"top_k 5%", "quantize 2", "top_k 10% | quantize 4", "low_rank 1",
                           "quantize 1 stochastic"}) {
    CAPTURE(name);
    const SegmentPlan recipe = MakeRecipe(name);
    ForAll(5, [&](RngStream& rng) {
      NamedTensors deltas(SomeLayout());
      NamedTensors sent(SomeLayout());
      std::shared_ptr<const NamedTensors> residual;
      for (std::uint64_t round = 0; round < 10; ++round) {
        NamedTensors delta = RandomDelta(rng);
        for (std::size_t i = 0; i < delta.values.size(); ++i) {
          deltas.values[i] += delta.values[i];
        }
        const ErrorFeedback feedback(residual, true);
        feedback.Compensate(delta);
        const EncodedDelta encoded =
            feedback.Encode(delta, recipe, {}, RngStream(5).Child("round", round));
        AddDecoded(encoded, recipe, sent);
        residual = encoded.residual;
      }
      for (std::size_t i = 0; i < sent.values.size(); ++i) sent.values[i] += residual->values[i];
      // Ten rounds of sums of values up to some 30: 10 x 30 x 2^-24 each way, with room.
      CheckNear(sent, deltas, 2e-4);
    });
  }
}

TEST_CASE("ErrorFeedback: what is given back is the delta and the residual") {
  const SegmentPlan recipe = MakeRecipe("top_k 5% | quantize 4");
  RngStream rng(1);
  NamedTensors compensated = RandomDelta(rng);
  const ErrorFeedback feedback(nullptr, true);
  EncodedDelta encoded = feedback.Encode(compensated, recipe, {}, RngStream(2));
  wire::Update update;
  update.streams.push_back({wire::kStreamDelta, encoded.entries});
  const auto given_back =
      Get(ErrorFeedback::GiveBack(wire::EncodeUpdate(update), encoded.residual, recipe, {}));
  CheckNear(*given_back, compensated, 1e-6);
}

TEST_CASE("ErrorFeedback: the residual and what is given back hold no frozen tensor") {
  CompressionConfig compression;
  compression.rules.push_back({{"*", {}}, {"top_k 5% | quantize 4", {}}});
  const std::vector<std::size_t> frozen = {0};
  const SegmentPlan recipe = Get(SegmentPlan::Create(compression, SomeLayout(), frozen));
  RngStream rng(1);
  NamedTensors delta = RandomDelta(rng);
  const EncodedDelta encoded = ErrorFeedback(nullptr, true).Encode(delta, recipe, {}, RngStream(2));
  REQUIRE(encoded.residual != nullptr);
  CHECK(encoded.residual->layout == recipe.covered());
  CHECK(encoded.residual->layout.size() + 1 == SomeLayout().size());
  wire::Update update;
  update.streams.push_back({wire::kStreamDelta, encoded.entries});
  const auto given_back =
      Get(ErrorFeedback::GiveBack(wire::EncodeUpdate(update), encoded.residual, recipe, {}));
  CHECK(given_back->layout == recipe.covered());
  NamedTensors expected(recipe.covered());
  ErrorFeedback(std::make_shared<NamedTensors>(delta), true).Compensate(expected);
  CheckNear(*given_back, expected, 1e-6);
}

TEST_CASE("ErrorFeedback: garbage is not given back") {
  const SegmentPlan recipe = MakeRecipe("quantize 4");
  CHECK(testing::CodeOf(ErrorFeedback::GiveBack(ToBytes("garbage"), nullptr, recipe, {})) ==
        ErrorCode::kMalformed);
}

TEST_CASE("ErrorFeedback: the same input and stream give the same bytes") {
  const SegmentPlan recipe = MakeRecipe("quantize 2 stochastic");
  RngStream rng(1);
  const NamedTensors delta = RandomDelta(rng);
  const ErrorFeedback feedback(nullptr, true);
  const EncodedDelta first = feedback.Encode(delta, recipe, {}, RngStream(2));
  CHECK(first.entries == feedback.Encode(delta, recipe, {}, RngStream(2)).entries);
  CHECK(first.entries != feedback.Encode(delta, recipe, {}, RngStream(3)).entries);
}

TEST_CASE("ErrorFeedback: an inactive one adds nothing and keeps nothing") {
  RngStream rng(1);
  const auto residual = std::make_shared<NamedTensors>(RandomDelta(rng));
  NamedTensors delta = RandomDelta(rng);
  const NamedTensors before = delta;
  const ErrorFeedback feedback(residual, false);
  feedback.Compensate(delta);
  CHECK(delta == before);
  CHECK(feedback.Encode(delta, MakeRecipe("quantize 2"), {}, rng).residual == nullptr);
}

TEST_CASE("RemapResidual: keeps tensors of the same name and shape and counts the others") {
  RngStream rng(1);
  const auto residual = std::make_shared<const NamedTensors>(RandomDelta(rng));
  const TensorLayout other({{"dense1.weight", Shape{20, 10}}, {"conv1.weight", Shape{5}}});
  std::size_t dropped = 0;
  const auto mapped = RemapResidual(residual, other, dropped);
  REQUIRE(mapped != nullptr);
  CHECK(dropped == 1);
  CHECK(std::ranges::equal(mapped->tensor(0), residual->tensor(1)));
  CHECK(NormL2(mapped->tensor(1)) == 0);
  CHECK(RemapResidual(residual, TensorLayout({{"x", Shape{1}}}), dropped) == nullptr);
  CHECK(dropped == 3);
  CHECK(RemapResidual(residual, SomeLayout(), dropped) == residual);
}

}  // namespace
}  // namespace fl::client
