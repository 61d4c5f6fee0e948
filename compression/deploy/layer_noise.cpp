#include "fl/compression/deploy/layer_noise.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "fl/common/nn/gradient.h"
#include "fl/compression/deploy/fake_quantize.h"

namespace fl::deploy {
namespace {

// Keeps every output that the step shows; with a model, rounded to its scales first.
class Recorder final : public nn::TrainingHook {
 public:
  Recorder(const nn::Graph& graph, const nn::QuantizedModel* rounded)
      : graph_(graph), rounded_(rounded) {}

  void OnForward(std::size_t node, std::span<float> output) override {
    if (rounded_ != nullptr && RoundsOutput(graph_, node))
      RoundToScale(rounded_->activations[node], output);
    outputs_[graph_.nodes[node].name].assign(output.begin(), output.end());
  }
  double OnBackward(std::size_t /*node*/, std::span<const float> /*output*/,
                    std::span<float> /*gradient*/) override {
    return 0;
  }
  const std::map<std::string, std::vector<float>>& outputs() const { return outputs_; }

 private:
  const nn::Graph& graph_;
  const nn::QuantizedModel* rounded_;
  std::map<std::string, std::vector<float>> outputs_;
};

struct Energy {
  double signal = 0;
  double noise = 0;
};

void Compare(const std::vector<float>& exact, const std::vector<float>& rounded, Energy& energy) {
  for (std::size_t i = 0; i < std::min(exact.size(), rounded.size()); ++i) {
    const double difference = double{exact[i]} - double{rounded[i]};
    energy.signal += double{exact[i]} * double{exact[i]};
    energy.noise += difference * difference;
  }
}

double Decibels(const Energy& energy) {
  constexpr double kMost = 200;
  if (energy.noise <= 0) return kMost;
  return std::min(kMost, 10 * std::log10(std::max(energy.signal, 1e-300) / energy.noise));
}

// One batch of samples through a graph. The labels are of no matter: nobody asks for the loss.
class Run {
 public:
  static Result<Run> Create(const nn::Graph& graph, std::size_t batch) {
    FL_TRY(nn::TrainingStep step, nn::TrainingStep::Create(graph, batch));
    return Run(std::move(step), graph.parameters.total());
  }
  void Record(std::span<const float> parameters, std::span<const float> samples, std::size_t count,
              Recorder& recorder) {
    nn::TrainingBatch batch;
    batch.count = count;
    batch.input = samples;
    batch.hook = &recorder;
    batch.running_statistics = true;
    step_.Compute(parameters, batch, gradient_);
  }

 private:
  Run(nn::TrainingStep step, std::size_t parameters)
      : step_(std::move(step)), gradient_(parameters) {}
  nn::TrainingStep step_;
  std::vector<float> gradient_;
};

}  // namespace

Result<std::vector<LayerNoise>> MeasureLayerNoise(const nn::Graph& graph,
                                                  std::span<const float> parameters,
                                                  const nn::QuantizedModel& quantized,
                                                  std::span<const float> samples,
                                                  std::size_t count) {
  constexpr std::size_t kBatch = 32;
  const std::size_t features = graph.input_shape().count();
  const std::size_t batch = std::min(count, kBatch);
  if (batch == 0 || quantized.dynamic()) return std::vector<LayerNoise>();
  FL_TRY(Run exact, Run::Create(graph, batch));
  FL_TRY(Run rounded, Run::Create(quantized.graph, batch));
  const NamedTensors values = nn::Dequantize(quantized);
  std::map<std::string, Energy> energies;
  for (std::size_t at = 0; at < count; at += batch) {
    const std::size_t size = std::min(batch, count - at);
    const auto input = samples.subspan(at * features, size * features);
    Recorder exact_outputs(graph, nullptr);
    Recorder rounded_outputs(quantized.graph, &quantized);
    exact.Record(parameters, input, size, exact_outputs);
    std::vector<float> rounded_input(input.begin(), input.end());
    RoundToScale(quantized.activations.front(), rounded_input);
    rounded.Record(values.values, rounded_input, size, rounded_outputs);
    for (const auto& [name, output] : exact_outputs.outputs()) {
      const auto other = rounded_outputs.outputs().find(name);
      if (other != rounded_outputs.outputs().end()) Compare(output, other->second, energies[name]);
    }
  }
  std::vector<LayerNoise> noise;
  for (const nn::Node& node : graph.nodes) {
    if (const auto found = energies.find(node.name); found != energies.end())
      noise.push_back({node.name, Decibels(found->second)});
  }
  return noise;
}

}  // namespace fl::deploy
