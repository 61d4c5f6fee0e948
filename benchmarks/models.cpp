#include "fl/benchmarks/models.h"

#include <algorithm>
#include <cmath>

#include "fl/benchmarks/measure.h"
#include "fl/benchmarks/sparse_layer.h"
#include "fl/common/nn/initialize.h"
#include "fl/common/nn/integer_session.h"
#include "fl/common/nn/model_zoo.h"
#include "fl/common/nn/session.h"

namespace fl::bench {
namespace {

constexpr std::size_t kCalibration = 4;
constexpr std::size_t kRunsMin = 100;
constexpr std::size_t kTurns = 5;
constexpr std::string_view kSuite[] = {"mlp", "resnet8", "ds_cnn", "mobilenet_025", "autoencoder"};

struct Latency {
  double integer = 0;  // Seconds.
  double floats = 0;
};

// The two in turns, so that what else the machine does meets both.
Result<Latency> MeasureLatency(std::string_view name, const RunConditions& conditions) {
  FL_TRY(const nn::Graph graph, nn::BuildZooModel(name, {.folded = true}));
  const RngStream rng(conditions.seed);
  const std::vector<float> parameters = nn::InitializeParameters(graph, rng.Child("model")).values;
  const std::size_t features = graph.input_shape().count();
  std::vector<float> samples(kCalibration * features);
  rng.Child("samples").FillUniform(samples);
  FL_TRY(const std::vector<nn::ActivationRange> ranges,
         nn::ObserveRanges(graph, parameters, samples, kCalibration, nn::RangeMethod::kMinMax));
  FL_TRY(const nn::QuantizedModel model, nn::Quantize(graph, parameters, ranges));
  FL_TRY(nn::IntegerSession integer, nn::IntegerSession::Create(model, 1));
  FL_TRY(nn::Session floats, nn::Session::Create(graph, 1));
  const auto input = std::span<const float>(samples).first(features);
  std::vector<float> output(graph.output_shape().count());
  const auto run_integer = [&] { integer.Run(input, 1, output); };
  const auto run_floats = [&] { floats.Run(parameters, input, 1, output); };
  const double once = MedianSeconds(3, run_floats);
  const auto runs = std::max(kRunsMin, static_cast<std::size_t>(0.02 / std::max(once, 1e-6)));
  std::vector<double> of_integer;
  std::vector<double> of_floats;
  for (std::size_t turn = 0; turn < kTurns * conditions.repeats; ++turn) {
    of_integer.push_back(MedianSeconds(runs, run_integer));
    of_floats.push_back(MedianSeconds(runs, run_floats));
  }
  return Latency{Median(std::move(of_integer)), Median(std::move(of_floats))};
}

// As shares of ONNX Runtime's time.
Bar PeerBar(std::string_view name) {
  const bool large = name == "mnist_cnn" || name == "leaf_femnist_cnn";
  return Bar::AtMost(large ? 0.75 : 1.0);
}

}  // namespace

Result<> RunModels(const ModelsConfig& config, Report& report) {
  double logarithms = 0;
  std::size_t members = 0;
  for (const nn::ZooModel& model : nn::ZooModels()) {
    if (model.name.find(config.only) == std::string_view::npos) continue;
    FL_TRY(const Latency latency, MeasureLatency(model.name, config.conditions));
    const std::string name = "models/" + std::string(model.name);
    const double microseconds = 1e6 * latency.integer;
    report.Add({name + "/int8", microseconds, "us", std::nullopt, "batch 1, one thread"});
    report.Add({name + "/fp32", latency.integer / latency.floats, "x", Bar::AtMost(1),
                "our fp32 " + std::to_string(1e6 * latency.floats) + " us, in turns"});
    const auto peer = config.onnxruntime.find(model.name);
    if (peer == config.onnxruntime.end()) continue;
    const double ratio = microseconds / peer->second;
    report.Add({name + "/onnxruntime", ratio, "x", PeerBar(model.name),
                "ONNX Runtime " + std::to_string(peer->second) + " us, one thread"});
    if (std::ranges::find(kSuite, model.name) == std::ranges::end(kSuite)) continue;
    logarithms += std::log(ratio);
    ++members;
  }
  if (members == std::size(kSuite)) {
    report.Add({"models/suite/onnxruntime", std::exp(logarithms / static_cast<double>(members)),
                "x", Bar::AtMost(0.8), "geometric mean over five networks"});
  }
  if (std::string_view("sparse").find(config.only) != std::string_view::npos)
    FL_TRY_OK(RunSparseLayers(config.conditions, report));
  if (config.onnxruntime.empty()) {
    report.AddNote("models: no times of ONNX Runtime (--onnxruntime NETWORK=MICROSECONDS)");
  }
  return {};
}

}  // namespace fl::bench
