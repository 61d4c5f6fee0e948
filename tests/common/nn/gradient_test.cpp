#include "fl/common/nn/gradient.h"

#include <algorithm>
#include <cmath>

#include <doctest/doctest.h>

#include "fl/common/nn/initialize.h"
#include "fl/common/nn/plain_graph.h"
#include "fl/common/nn/session.h"
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
    "TrainingStep: gradients of depthwise and grouped convolutions are the slopes of the loss") {
  CheckLayers({6, 7, 3}, {"conv 22 3x3 same", "depthwise 3x2 same", "relu", "flatten", "dense 3"});
  CheckLayers({8, 7, 5}, {"depthwise 3x3 stride=2 same", "depthwise 2x2", "flatten", "dense 3"});
  CheckLayers({6, 7, 4}, {"conv 6 3x3 same groups=2", "relu", "conv 9 2x3 stride=2 groups=3",
                          "flatten", "dense 3"});
}

TEST_CASE("TrainingStep: gradients of norms are the slopes of the loss") {
  CheckLayers({5}, {"dense 9", "batchnorm", "relu", "dense 3"});
  CheckLayers({5, 4, 2}, {"conv 6 3x3 same", "batchnorm", "relu", "global_avgpool", "dense 3"});
  CheckLayers({5}, {"layernorm", "dense 9", "layernorm", "relu", "dense 3"});
  CheckLayers({5, 4, 2}, {"conv 6 3x3 same", "layernorm", "global_avgpool", "dense 3"});
}

TEST_CASE("TrainingStep: gradients of functions of one value are the slopes of the loss") {
  for (const char* function : {"relu6", "hard_swish", "sigmoid", "tanh"}) {
    CAPTURE(function);
    CheckLayers({5}, {"dense 19", function, "dense 7", "relu", "dense 3"});
    // Beyond the kinks at 3 and 6, too.
    CheckLayers({5}, {"dense 40", "batchnorm", "wide: dense 30", function, function, "dense 3"});
  }
}

TEST_CASE("TrainingStep: gradients of several readers and several operands add up") {
  CheckLayers({6, 5, 2}, {"conv 8 3x3 same", "batchnorm", "relu", "conv 8 3x3 same", "batchnorm",
                          "add relu1", "relu", "global_avgpool", "dense 3"});
  CheckLayers({6, 5, 2},
              {"conv 4 3x3 same", "left: conv 3 1x1", "right: conv 5 3x3 same from=conv1",
               "concat left conv1", "relu", "global_avgpool", "dense 3"});
  CheckLayers({6, 5, 2}, {"conv 4 3x3 same", "global_avgpool", "dense 4", "sigmoid",
                          "multiply sigmoid1 from=conv1", "flatten", "dense 3"});
  CheckLayers({7}, {"dense 6", "tanh", "twin: dense 6 from=dense1", "multiply tanh1 dense1",
                    "add dense1 dense1", "reshape 1x2x3", "conv 4 1x2", "flatten", "dense 3"});
  // A flatten that is read by two, and a function on one of its readers.
  CheckLayers({4, 3, 1}, {"conv 2 3x3 same", "flatten", "relu", "relu6 from=flatten1", "add relu1",
                          "dense 3"});
}

TEST_CASE("TrainingStep: the input's gradient is the slope of the loss") {
  const Graph graph =
      Build({4, 4, 2}, {"conv 3 3x3 same", "relu", "add conv1 conv1", "flatten", "dense 3"});
  const std::vector<float> parameters = InitializeParameters(graph, RngStream(3)).values;
  std::vector<float> samples = Normals(2 * 32, 1);
  const std::vector<std::int32_t> labels = Labels(2, 3, 2);
  TrainingStep step = Get(TrainingStep::Create(graph, 2, TrainingOptions{.input_gradient = true}));
  std::vector<float> gradient(parameters.size());
  std::vector<float> input_gradient(samples.size());
  TrainingBatch batch;
  batch.count = 2;
  batch.input = samples;
  batch.labels = labels;
  batch.input_gradient = input_gradient;
  step.Compute(parameters, batch, gradient);
  batch.input_gradient = {};
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const float kept = samples[i];
    samples[i] = kept + 5e-4F;
    const double above = step.Compute(parameters, batch, gradient);
    samples[i] = kept - 5e-4F;
    const double below = step.Compute(parameters, batch, gradient);
    samples[i] = kept;
    CHECK(input_gradient[i] == doctest::Approx((above - below) / 1e-3).epsilon(0.02).scale(0.1));
  }
}

// Adds the mean square of a node's output to the loss, and halves the output of another.
class SquareHook final : public TrainingHook {
 public:
  SquareHook(std::size_t squared, std::size_t halved) : squared_(squared), halved_(halved) {}
  void OnForward(std::size_t node, std::span<float> output) override {
    seen_.push_back(node);
    if (node != halved_) return;
    for (float& value : output) value *= 0.5F;
  }
  double OnBackward(std::size_t node, std::span<const float> output,
                    std::span<float> gradient) override {
    double loss = 0;
    for (std::size_t i = 0; i < output.size(); ++i) {
      if (node == halved_) gradient[i] *= 0.5F;
      if (node != squared_) continue;
      const auto count = static_cast<float>(output.size());
      loss += static_cast<double>(output[i] * output[i] / count);
      gradient[i] += 2 * output[i] / count;
    }
    return loss;
  }
  const std::vector<std::size_t>& seen() const { return seen_; }

 private:
  std::size_t squared_;
  std::size_t halved_;
  std::vector<std::size_t> seen_;
};

TEST_CASE("TrainingStep: a hook's losses and changes are part of the gradient") {
  // The head (node 4) is read by nobody; only the hook's loss reaches it.
  const Graph graph =
      Build({5}, {"dense 6", "relu", "dense 4", "head: dense 2 from=relu1", "dense 3 from=dense2"});
  std::vector<float> parameters = InitializeParameters(graph, RngStream(3)).values;
  const std::vector<float> samples = Normals(4 * 5, 1);
  const std::vector<std::int32_t> labels = Labels(4, 3, 2);
  SquareHook hook(4, 3);
  TrainingBatch batch;
  batch.count = 4;
  batch.input = samples;
  batch.hook = &hook;
  SUBCASE("beside the labels") {
    batch.labels = labels;
  }
  SUBCASE("alone") {}
  TrainingStep step = Get(TrainingStep::Create(graph, 4));
  std::vector<float> gradient(parameters.size());
  std::vector<float> ignored(parameters.size());
  step.Compute(parameters, batch, gradient);
  // The ReLU is part of the first product, which is not shown.
  CHECK(hook.seen() == std::vector<std::size_t>{2, 3, 4, 5});
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const float kept = parameters[i];
    parameters[i] = kept + 5e-4F;
    const double above = step.Compute(parameters, batch, ignored);
    parameters[i] = kept - 5e-4F;
    const double below = step.Compute(parameters, batch, ignored);
    parameters[i] = kept;
    CHECK(gradient[i] == doctest::Approx((above - below) / 1e-3).epsilon(0.02).scale(0.1));
  }
}

TEST_CASE("TrainingStep: statistics move to those of the batch and have no gradient") {
  const Graph graph = Build({2}, {"batchnorm", "dense 2"});
  std::vector<float> parameters = InitializeParameters(graph, RngStream(3)).values;
  const std::vector<float> samples = {1, 5, 3, 5, 5, 5, 7, 5};
  const std::vector<std::int32_t> labels = {0, 1, 0, 1};
  TrainingBatch batch;
  batch.count = 4;
  batch.input = samples;
  batch.labels = labels;
  TrainingStep step = Get(TrainingStep::Create(graph, 4));
  std::vector<float> gradient(parameters.size(), 9.0F);
  step.Compute(parameters, batch, gradient);
  for (std::size_t i = 4; i < 8; ++i) CHECK(gradient[i] == 0.0F);
  step.UpdateStatistics(parameters);
  CHECK(parameters[4] == doctest::Approx(0.4));  // A tenth of the mean 4.
  CHECK(parameters[5] == doctest::Approx(0.5));
  CHECK(parameters[6] == doctest::Approx(0.9 + 0.1 * 20 / 3.0));  // Variance 5 of n, 20/3 of n - 1.
  CHECK(parameters[7] == doctest::Approx(0.9));
  SUBCASE("with running statistics the step is that of inference and nothing moves") {
    const std::vector<float> kept = parameters;
    batch.running_statistics = true;
    step.Compute(parameters, batch, gradient);
    step.UpdateStatistics(parameters);
    CHECK(parameters == kept);
    Session session = Get(Session::Create(graph, 4));
    std::vector<float> output(8);
    session.Run(parameters, samples, 4, output);
    CHECK(std::ranges::equal(step.outputs(), output));
  }
}

TEST_CASE("TrainingStep: with running statistics gradients are the slopes of the loss") {
  const Graph graph = Build({5}, {"dense 9", "batchnorm", "relu", "dense 3"});
  std::vector<float> parameters = InitializeParameters(graph, RngStream(3)).values;
  const std::vector<float> samples = Normals(4 * 5, 1);
  const std::vector<std::int32_t> labels = Labels(4, 3, 2);
  TrainingBatch batch;
  batch.count = 4;
  batch.input = samples;
  batch.labels = labels;
  batch.running_statistics = true;
  CheckGradient(graph, batch, BestInstructionSet());
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
