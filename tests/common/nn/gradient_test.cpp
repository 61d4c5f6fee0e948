#include "fl/common/nn/gradient.h"

#include <algorithm>
#include <cmath>

#include <doctest/doctest.h>

#include "fl/common/nn/initialize.h"
#include "fl/common/nn/plain_graph.h"
#include "fl/tests/common/nn/small_models.h"

namespace fl::nn {
namespace {

using fl::testing::Get;
using namespace testing;  // NOLINT(google-build-using-namespace): builders of this folder.

// Compares each derivative with a central difference. fp32 logits carry a relative error near 1e-7,
// so a difference over 1e-3 is good to about 2e-4; kinks of ReLU and maximum inside the interval
// are rare and bounded by the share allowed.
void CheckGradient(const Graph& graph, const TrainingBatch& batch, InstructionSet set) {
  TrainingStep step = Get(TrainingStep::Create(graph, batch.count, set));
  std::vector<float> parameters = InitializeParameters(graph, RngStream(3)).values;
  // A factor of zero would hide the other one's gradient.
  const std::vector<float> anything = Normals(parameters.size(), 5);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i] == 0) parameters[i] = 0.3F * anything[i];
  }
  std::vector<float> gradient(parameters.size());
  std::vector<float> ignored(parameters.size());
  step.Compute(parameters, batch, gradient);
  std::vector<bool> trained(parameters.size());
  for (const CoordinateRange& range : TrainedRanges(graph)) {
    std::fill_n(trained.begin() + static_cast<std::ptrdiff_t>(range.first), range.count, true);
  }
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (!trained[i]) {
      CHECK(gradient[i] == 0.0F);
      continue;
    }
    const float kept = parameters[i];
    parameters[i] = kept + 5e-4F;
    const double above = step.Compute(parameters, batch, ignored);
    parameters[i] = kept - 5e-4F;
    const double below = step.Compute(parameters, batch, ignored);
    parameters[i] = kept;
    const double expected = (above - below) / 1e-3;
    if (std::abs(expected - static_cast<double>(gradient[i])) > 2e-3 + 0.02 * std::abs(expected))
      ++wrong;
  }
  CAPTURE(InstructionSetName(set));
  CHECK(wrong <= parameters.size() / 100);
}

void CheckLayers(const Shape& input, const std::vector<std::string>& layers,
                 std::string_view loss = "softmax_cross_entropy") {
  const Graph graph = Build(input, layers, loss);
  const std::size_t outputs = graph.output_shape().count();
  const std::vector<float> samples = Normals(5 * input.count(), 1);
  const std::vector<float> targets = Normals(5 * outputs, 4);
  const std::vector<std::int32_t> labels = Labels(5, outputs, 2);
  TrainingBatch batch;
  batch.count = 5;
  batch.input = samples;
  if (graph.loss == LossKind::kSoftmaxCrossEntropy) {
    batch.labels = labels;
  } else {
    batch.targets = targets;
  }
  for (const InstructionSet set : SupportedInstructionSets()) CheckGradient(graph, batch, set);
}

TEST_CASE("TrainingStep: gradients of dense layers and ReLU are the slopes of the loss") {
  CheckLayers({7}, {"dense 37", "relu", "dense 5", "relu", "dense 3"});
}

TEST_CASE("TrainingStep: gradients of the mean squared error are the slopes of the loss") {
  CheckLayers({7}, {"dense 9", "relu", "dense 4"}, "mean_squared_error");
}

TEST_CASE("TrainingStep: gradients of a convolution with same padding are the slopes of the loss") {
  CheckLayers({6, 5, 2}, {"conv 3 3x3 same", "relu", "conv 5 3x2 same", "flatten", "dense 3"});
}

TEST_CASE(
    "TrainingStep: gradients of a valid convolution with a stride are the slopes of the loss") {
  CheckLayers({9, 8, 2}, {"conv 4 3x3", "conv 3 3x2 stride=2 valid", "flatten", "dense 3"});
  CheckLayers({7, 8, 1},
              {"conv 4 3x3 stride=2 same", "conv 3 2x2 stride=3 same", "flatten", "dense 3"});
}

TEST_CASE("TrainingStep: gradients of pools are the slopes of the loss") {
  CheckLayers({6, 7, 2}, {"conv 3 3x3 same", "relu", "maxpool 2", "flatten", "dense 3"});
  CheckLayers({6, 7, 2},
              {"conv 3 3x3 same", "maxpool 3 stride=2 same", "relu", "flatten", "dense 3"});
  CheckLayers({6, 7, 2}, {"conv 3 3x3 same", "avgpool 3x2 stride=2 same", "flatten", "dense 3"});
  CheckLayers({6, 7, 2},
              {"conv 3 3x3 same", "relu", "avgpool 2 stride=1", "global_avgpool", "dense 3"});
}

TEST_CASE(
    "TrainingStep: gradients of LoRA are the slopes of the loss and zero for what is frozen") {
  CheckLayers({7}, {"dense 37 lora=3 alpha=5", "relu", "dense 5 lora=5", "relu", "dense 3"});
  CheckLayers({6, 5, 2}, {"conv 5 3x2 same lora=2", "relu", "flatten", "dense 3 lora=1"});
}

TEST_CASE("TrainingStep: gradients of both factors of LoRA are the slopes of the loss") {
  CheckLayers({7}, {"dense 37 lora=3 both", "relu", "dense 5 lora=2 alpha=3 both"});
  CheckLayers({6, 5, 2}, {"conv 5 3x2 same lora=2 both", "relu", "flatten", "dense 3"});
}

TEST_CASE("TrainingStep: gradients of FedPara are the slopes of the loss") {
  CheckLayers({7}, {"dense 37 fedpara=3", "relu", "dense 5 fedpara=2", "relu", "dense 3"});
  CheckLayers({6, 5, 2}, {"conv 3 3x3 same", "conv 5 3x2 same stride=2 fedpara=3", "flatten",
                          "dense 3 fedpara=1"});
}

TEST_CASE("TrainingStep: frozen tensors have no gradient and the others the same as before") {
  Graph graph = Build({6}, {"dense 8", "relu", "dense 7", "relu", "dense 4"});
  const NamedTensors parameters = InitializeParameters(graph, RngStream(5));
  const std::vector<float> samples = Normals(5 * 6, 1);
  const std::vector<std::int32_t> labels = Labels(5, 4, 2);
  TrainingBatch batch;
  batch.count = 5;
  batch.input = samples;
  batch.labels = labels;
  NamedTensors all(graph.parameters);
  Get(TrainingStep::Create(graph, 5)).Compute(parameters.values, batch, all.values);
  SUBCASE("in front") {
    graph.frozen = {0, 1};
  }
  SUBCASE("in the middle") {
    graph.frozen = {2, 3, 4};
  }
  SUBCASE("everything") {
    graph.frozen = {0, 1, 2, 3, 4, 5};
  }
  NamedTensors gradient(graph.parameters);
  gradient.values.assign(gradient.values.size(), 9.0F);
  Get(TrainingStep::Create(graph, 5)).Compute(parameters.values, batch, gradient.values);
  for (std::size_t i = 0; i < graph.parameters.size(); ++i) {
    const std::span<const float> found = gradient.tensor(i);
    if (std::ranges::binary_search(graph.frozen, i)) {
      CHECK(std::ranges::all_of(found, [](float value) { return value == 0; }));
    } else {
      CHECK(std::ranges::equal(found, all.tensor(i)));
    }
  }
}

TEST_CASE("TrainingStep: gradients of distillation are the slopes of its loss") {
  const Graph graph = Build({6}, {"dense 8", "relu", "dense 4"});
  const std::vector<float> samples = Normals(5 * 6, 1);
  const std::vector<float> teacher = Normals(5 * 4, 8);
  const std::vector<std::int32_t> labels = Labels(5, 4, 2);
  TrainingBatch batch;
  batch.count = 5;
  batch.input = samples;
  batch.teacher_logits = teacher;
  batch.distillation = {.temperature = 2, .hard_weight = 0.3F};
  SUBCASE("with labels") {
    batch.labels = labels;
  }
  SUBCASE("without labels") {}
  for (const InstructionSet set : SupportedInstructionSets()) CheckGradient(graph, batch, set);
}

TEST_CASE("TrainingStep: the same batch gives the same bits again") {
  const Graph graph =
      Build({8, 8, 1}, {"conv 6 3x3 same", "relu", "maxpool 2", "flatten", "dense 4"});
  const std::vector<float> samples = Normals(9 * 64, 1);
  const std::vector<std::int32_t> labels = Labels(9, 4, 2);
  const NamedTensors parameters = InitializeParameters(graph, RngStream(5));
  const TrainingBatch batch = {.count = 9,
                               .input = samples,
                               .labels = labels,
                               .targets = {},
                               .teacher_logits = {},
                               .distillation = {}};
  TrainingStep first = Get(TrainingStep::Create(graph, 9));
  TrainingStep second = Get(TrainingStep::Create(graph, 32));
  std::vector<float> once(parameters.values.size());
  std::vector<float> again(parameters.values.size(), 1.0F);
  const double loss = first.Compute(parameters.values, batch, once);
  CHECK(second.Compute(parameters.values, batch, again) == loss);
  CHECK(once == again);
  CHECK(first.outputs().size() == 9 * 4);
}

TEST_CASE("TrainingStep: an unsupported batch size is refused") {
  const Graph graph = Build({4}, {"dense 2"});
  CHECK(fl::testing::CodeOf(TrainingStep::Create(graph, 0)) == ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace fl::nn
