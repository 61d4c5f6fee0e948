#include "fl/benchmarks/models.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "fl/benchmarks/measure.h"
#include "fl/benchmarks/sparse_layer.h"
#include "fl/benchmarks/zoo_models.h"
#include "fl/common/nn/integer_session.h"
#include "fl/common/nn/model_zoo.h"
#include "fl/common/nn/session.h"

namespace fl::bench {
namespace {

constexpr std::size_t kRunsMin = 100;
constexpr std::size_t kTurns = 5;
constexpr std::string_view kSuite[] = {"mlp", "resnet8", "ds_cnn", "mobilenet_025", "autoencoder"};

// Forms of one network that run in turns, so that what else the machine does meets all.
class Turns {
 public:
  explicit Turns(const MeasuredModel& model)
      : model_(model), output_(model.graph.output_shape().count()) {}

  Result<> AddFloats(nn::InstructionSet set) {
    FL_TRY(nn::Session session, nn::Session::Create(model_.graph, 1, set));
    forms_.push_back({std::nullopt, std::move(session), {}});
    return {};
  }
  Result<> AddIntegers(const nn::QuantizedModel& model, nn::IntegerInstructionSet set) {
    FL_TRY(nn::IntegerSession session, nn::IntegerSession::Create(model, 1, set));
    forms_.push_back({std::move(session), std::nullopt, {}});
    return {};
  }

  // Median seconds of each form, in the order in which they were added.
  std::vector<double> Measure(std::size_t turns) {
    std::vector<std::size_t> runs;
    runs.reserve(forms_.size());
    for (Form& form : forms_) {
      const double once = MedianSeconds(3, [&] { Run(form); });
      runs.push_back(std::max(kRunsMin, static_cast<std::size_t>(0.02 / std::max(once, 1e-6))));
    }
    for (std::size_t turn = 0; turn < turns; ++turn) {
      for (std::size_t i = 0; i < forms_.size(); ++i)
        forms_[i].seconds.push_back(MedianSeconds(runs[i], [&] { Run(forms_[i]); }));
    }
    std::vector<double> medians;
    medians.reserve(forms_.size());
    for (Form& form : forms_) medians.push_back(Median(std::move(form.seconds)));
    return medians;
  }

 private:
  struct Form {
    std::optional<nn::IntegerSession> integers;
    std::optional<nn::Session> floats;
    std::vector<double> seconds;
  };

  void Run(Form& form) {
    if (form.integers) {
      form.integers->Run(model_.input, 1, output_);
    } else {
      form.floats->Run(model_.parameters, model_.input, 1, output_);
    }
  }

  const MeasuredModel& model_;
  std::vector<float> output_;
  std::vector<Form> forms_;
};

std::string Microseconds(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f us", value);
  return text;
}
std::string FloatReference(double seconds) {
  return "our fp32 " + Microseconds(1e6 * seconds) + ", in turns";
}

bool Has(nn::IntegerInstructionSet set) {
  return std::ranges::count(nn::SupportedIntegerInstructionSets(), set) != 0;
}

// Adds the rows that need nobody else; returns the seconds of int8.
Result<double> MeasureOurs(std::string_view network, const RunConditions& conditions,
                           Report& report) {
  using enum nn::IntegerInstructionSet;
  FL_TRY(const MeasuredModel model, MakeMeasuredModel(network, conditions));
  const bool avx2 =
      Has(kAvx2) && nn::SupportedInstructionSets().back() >= nn::InstructionSet::kX86V3;
  Turns turns(model);
  FL_TRY_OK(turns.AddFloats(nn::BestInstructionSet()));
  FL_TRY_OK(turns.AddIntegers(model.integer, nn::BestIntegerInstructionSet()));
  FL_TRY_OK(turns.AddIntegers(model.dynamic, nn::BestIntegerInstructionSet()));
  if (avx2) {
    FL_TRY_OK(turns.AddFloats(nn::InstructionSet::kX86V3));
    FL_TRY_OK(turns.AddIntegers(model.integer, kAvx2));
    FL_TRY_OK(turns.AddIntegers(model.dynamic, kAvx2));
  }
  const std::vector<double> seconds = turns.Measure(kTurns * conditions.repeats);
  const std::string name = "models/" + std::string(network);
  const Bar bar = Bar::AtMost(Has(kAvxVnni) || Has(kAvx512Vnni) ? 0.6 : 0.9);
  report.Add({name + "/int8", 1e6 * seconds[1], "us", std::nullopt, "batch 1, one thread"});
  report.Add({name + "/fp32", seconds[1] / seconds[0], "x", bar, FloatReference(seconds[0])});
  report.Add({name + "/dynamic/fp32", seconds[2] / seconds[0], "x", Bar::AtMost(1),
              FloatReference(seconds[0])});
  if (avx2) {
    report.Add({name + "/avx2/fp32", seconds[4] / seconds[3], "x", Bar::AtMost(0.9),
                FloatReference(seconds[3])});
    report.Add({name + "/avx2/dynamic/fp32", seconds[5] / seconds[3], "x", std::nullopt,
                FloatReference(seconds[3])});
  }
  return seconds[1];
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
    FL_TRY(const double seconds, MeasureOurs(model.name, config.conditions, report));
    const auto peer = config.onnxruntime.find(model.name);
    if (peer == config.onnxruntime.end()) continue;
    const double ratio = 1e6 * seconds / peer->second;
    report.Add({"models/" + std::string(model.name) + "/onnxruntime", ratio, "x",
                PeerBar(model.name),
                "ONNX Runtime " + Microseconds(peer->second) + ", one thread"});
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
    report.AddNote("models: no times of ONNX Runtime (--peers DIR)");
  }
  return {};
}

}  // namespace fl::bench
