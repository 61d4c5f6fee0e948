#include "fl/compression/deploy/fine_tune.h"

#include <cmath>

#include <doctest/doctest.h>

#include "fl/common/nn/build_graph.h"
#include "fl/tests/support/result.h"

namespace fl::deploy {
namespace {

constexpr std::size_t kFeatures = 4;
constexpr std::size_t kClasses = 2;

// The sign of the first feature is the class.
data::Subset MakeData(std::size_t count) {
  data::Samples samples;
  samples.shape = Shape{kFeatures};
  samples.classes = kClasses;
  std::vector<float> features(count * kFeatures);
  RngStream(3).FillNormal(features);
  for (std::size_t i = 0; i < count; ++i)
    samples.labels.push_back(features[i * kFeatures] > 0 ? 1 : 0);
  samples.features = std::move(features);
  return data::Subset(
      std::make_shared<data::Dataset>(testing::Get(data::Dataset::Create(std::move(samples)))));
}

struct Loop {
  FineTuneInputs Inputs() const {
    return {.graph = graph,
            .start = start,
            .masks = masks,
            .teacher = std::nullopt,
            .training = training,
            .rng = RngStream(9),
            .stop = stop,
            .hook = hook};
  }
  Result<FineTuned> Run() const { return FineTune(config, Inputs()); }

  nn::Graph graph = testing::Get(
      nn::BuildGraph(Shape{kFeatures}, std::vector<std::string>{"dense 6", "relu", "dense 2"},
                     "softmax_cross_entropy"));
  FineTuneConfig config{.epochs = 10, .learning_rate = 0.1, .warmup = 5};
  std::vector<float> start;
  MaskMap masks;
  data::Subset training = MakeData(256);
  std::atomic<bool> stop = false;
  FineTuneHook* hook = nullptr;
};

TEST_CASE("FineTune: learns from labels alone, the same bits each time") {
  const auto outcome = testing::Get(Loop().Run());
  CHECK(outcome.converged);
  CHECK(outcome.steps == 80);
  CHECK(outcome.attempts == 1);
  CHECK(outcome.loss_last < 0.5 * outcome.loss_first);
  CHECK(testing::Get(Loop().Run()).parameters == outcome.parameters);
}

TEST_CASE("FineTune: what a mask removes stays zero, the rest moves") {
  Loop loop;
  std::vector<std::uint8_t> mask(kFeatures * 6, 1);
  for (std::size_t i = 0; i < mask.size(); i += 2) mask[i] = 0;
  loop.masks["dense1.weight"] = mask;
  const auto outcome = testing::Get(loop.Run());
  for (std::size_t i = 0; i < mask.size(); ++i)
    CHECK((outcome.parameters[i] == 0) == (mask[i] == 0));
}

TEST_CASE("FineTune: masks that do not fit are refused") {
  Loop short_mask;
  short_mask.masks["dense1.weight"] = {1, 0};
  CHECK(testing::CodeOf(short_mask.Run()) == ErrorCode::kShapeMismatch);
  Loop unknown;
  unknown.masks["dense7.weight"] = {1, 0};
  CHECK(testing::CodeOf(unknown.Run()) == ErrorCode::kNotFound);
}

// Rounds weights to halves for the passes forward and backward, and counts its calls.
class RoundingHook final : public FineTuneHook {
 public:
  void Begin() override { ++begun; }
  void Transform(const FineTuneStep& step, std::span<float> used) override {
    CHECK(step.step < step.steps);
    for (float& value : used) value = std::round(2 * value) / 2;
  }
  double Adjust(const FineTuneStep& step, std::span<const float> used,
                std::span<const float> outputs, std::span<float> gradient) override {
    CHECK(outputs.size() == step.batch.count * kClasses);
    CHECK(gradient.size() == used.size());
    for (const float value : used) CHECK(value == std::round(2 * value) / 2);
    ++adjusted;
    return 100;
  }
  unsigned begun = 0;
  unsigned adjusted = 0;
};

TEST_CASE("FineTune: weights rounded by a hook learn through the rounding") {
  RoundingHook hook;
  Loop loop;
  loop.hook = &hook;
  loop.start = testing::Get(Loop().Run()).parameters;
  loop.config.steps = 40;
  const auto outcome = testing::Get(loop.Run());
  CHECK(hook.begun == 1);
  CHECK(hook.adjusted == 40);
  CHECK(outcome.loss_last > 100);
  CHECK(outcome.loss_last < 100.2);
  bool between = false;
  for (const float value : outcome.parameters) between |= value != std::round(2 * value) / 2;
  CHECK(between);  // The parameters themselves are not rounded.
}

// Leads every weight to where all answers are the same.
class RuiningHook final : public FineTuneHook {
 public:
  double Adjust(const FineTuneStep& /*step*/, std::span<const float> used,
                std::span<const float> /*outputs*/, std::span<float> gradient) override {
    for (std::size_t i = 0; i < used.size(); ++i) gradient[i] = 10 * used[i];
    return 0;
  }
};

TEST_CASE("FineTune: a model that collapses to a constant answer fails, with half the rate each") {
  RuiningHook hook;
  Loop loop;
  loop.start = testing::Get(Loop().Run()).parameters;
  loop.hook = &hook;
  loop.config.clip = 1e6;
  loop.config.momentum = 0;
  loop.config.steps = 200;
  const auto outcome = testing::Get(loop.Run());
  CHECK_FALSE(outcome.converged);
  CHECK(outcome.attempts == 4);
  CHECK(outcome.learning_rate == doctest::Approx(0.1 / 8));
}

// A loss of its own that only rises, and moves nothing.
class RisingHook final : public FineTuneHook {
 public:
  double Adjust(const FineTuneStep& step, std::span<const float> /*used*/,
                std::span<const float> /*outputs*/, std::span<float> /*gradient*/) override {
    return static_cast<double>(step.step);
  }
};

TEST_CASE("FineTune: a model that learns has converged, whatever a hook adds to its loss") {
  RisingHook hook;
  Loop loop;
  loop.hook = &hook;
  const auto outcome = testing::Get(loop.Run());
  CHECK(outcome.loss_last > outcome.loss_first);
  CHECK(outcome.converged);
  CHECK(outcome.attempts == 1);
}

TEST_CASE("FineTune: inputs that cannot be worked with are errors") {
  Loop stopped;
  stopped.stop = true;
  CHECK(testing::CodeOf(stopped.Run()) == ErrorCode::kUnavailable);
  Loop empty;
  empty.training = data::Subset(empty.training.shared_dataset(), {});
  CHECK(testing::CodeOf(empty.Run()) == ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace fl::deploy
