#include "fl/benchmarks/training.h"

#include <algorithm>

#include "fl/benchmarks/measure.h"
#include "fl/common/nn/gradient.h"
#include "fl/common/nn/initialize.h"
#include "fl/common/nn/model_zoo.h"
#include "fl/common/nn/optimizer.h"

namespace fl::bench {
namespace {

constexpr std::size_t kBatch = 32;
constexpr std::size_t kStepsMin = 20;

// Steps take less than a millisecond or many: enough of them for a tenth of a second.
Result<double> MedianStepSeconds(std::string_view name, const RunConditions& conditions) {
  FL_TRY(const nn::Graph graph, nn::BuildZooModel(name));
  FL_TRY(nn::TrainingStep step, nn::TrainingStep::Create(graph, kBatch));
  const RngStream rng(conditions.seed);
  std::vector<float> parameters = nn::InitializeParameters(graph, rng.Child("model")).values;
  std::vector<float> gradient(parameters.size());
  std::vector<float> input(kBatch * graph.input_shape().count());
  RngStream samples = rng.Child("samples");
  samples.FillNormal(input);
  const std::size_t outputs = graph.output_shape().count();
  std::vector<std::int32_t> labels(kBatch);
  for (std::int32_t& label : labels)
    label = static_cast<std::int32_t>(samples.UniformInteger(outputs));
  std::vector<float> targets(kBatch * outputs);
  nn::TrainingBatch batch;
  batch.count = kBatch;
  batch.input = input;
  if (graph.loss == nn::LossKind::kMeanSquaredError)
    batch.targets = targets;
  else
    batch.labels = labels;
  nn::SgdConfig config;
  config.learning_rate = 0.01;
  nn::Sgd sgd(config, graph);
  const auto run = [&] {
    step.Compute(parameters, batch, gradient);
    sgd.Step(gradient, {}, parameters);
    step.UpdateStatistics(parameters);
  };
  const double once = MedianSeconds(3, run);
  const auto steps = static_cast<std::size_t>(0.1 / std::max(once, 1e-6));
  return MedianSeconds(std::clamp<std::size_t>(steps * conditions.repeats, kStepsMin, 5000), run);
}

// As shares of PyTorch's time.
std::optional<Bar> TorchBar(std::string_view name) {
  if (name == "mlp") return Bar::AtMost(0.5);
  if (name == "mnist_cnn") return Bar::AtMost(0.85);
  if (name == "leaf_femnist_cnn") return Bar::AtMost(0.9);
  return std::nullopt;
}

}  // namespace

Result<> RunTraining(const TrainingConfig& config, Report& report) {
  for (const nn::ZooModel& model : nn::ZooModels()) {
    if (model.name.find(config.only) == std::string_view::npos) continue;
    FL_TRY(const double seconds, MedianStepSeconds(model.name, config.conditions));
    report.Add({"training/" + std::string(model.name) + "/step", 1e3 * seconds, "ms", std::nullopt,
                "batch 32, one thread"});
    const auto torch = config.torch.find(model.name);
    if (torch == config.torch.end()) continue;
    report.Add({"training/" + std::string(model.name) + "/torch", 1e3 * seconds / torch->second,
                "x", TorchBar(model.name),
                "PyTorch " + std::to_string(torch->second) + " ms, one thread"});
  }
  if (config.torch.empty()) report.AddNote("training: no times of PyTorch (--peers DIR)");
  return {};
}

}  // namespace fl::bench
