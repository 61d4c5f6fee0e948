#include <iostream>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "fl/common/base/file.h"
#include "fl/common/data/source.h"
#include "fl/compression/app/model/call.h"
#include "fl/compression/app/model/machine_instruments.h"
#include "fl/compression/app/model/model_bench.h"
#include "fl/compression/app/model/model_info.h"
#include "fl/compression/app/model/probe.h"
#include "fl/compression/app/text_table.h"
#include "fl/compression/deploy/gate.h"

namespace fl::model_app {
namespace {

constexpr std::uint64_t kFileBytesMax = 1ULL << 33;

Result<> Info(const Call& call) {
  FL_TRY(const Bytes bytes, ReadFile(call.in, kFileBytesMax));
  const auto info = InspectModel(bytes);
  if (!info) return info.error().At(call.in);
  std::cout << (call.json ? InfoToJson(*info) : DrawInfo(*info));
  return {};
}

Result<nn::Evaluation> EvaluateFile(const nn::ModelFile& file, const data::Subset& samples) {
  if (const auto* integers = std::get_if<nn::QuantizedModel>(&file.model))
    return deploy::Evaluate(*integers, samples);
  const auto& floats = std::get<nn::FloatModel>(file.model);
  return deploy::Evaluate(floats.graph, floats.parameters, samples);
}

Result<> Evaluate(const Call& call) {
  FL_TRY(const nn::ModelFile file, ReadModel(call.in));
  if (file.graph().loss != nn::LossKind::kSoftmaxCrossEntropy) {
    return Error{ErrorCode::kUnsupported, call.in +
                                              ": expected a model with classes, found loss = \"" +
                                              std::string(nn::LossName(file.graph().loss)) + "\""};
  }
  FL_TRY(const auto dataset, OpenData(file, call.data));
  const data::Subset samples(dataset);
  FL_TRY(const nn::Evaluation found, EvaluateFile(file, samples));
  const double majority = deploy::MajorityShare(samples);
  const std::string engine =
      std::holds_alternative<nn::QuantizedModel>(file.model) ? "int8" : "fp32";
  if (call.json) {
    std::cout << nlohmann::ordered_json{{"samples", samples.count()},
                                        {"accuracy", found.accuracy},
                                        {"loss", found.loss},
                                        {"majority_share", majority},
                                        {"engine", engine}}
                     .dump(2)
              << "\n";
    return {};
  }
  std::cout << "accuracy " << codec_app::FormatFixed(100 * found.accuracy, 2) << " %, loss "
            << codec_app::FormatFixed(found.loss, 4) << ", of "
            << codec_app::FormatCount(samples.count()) << " samples by the " << engine
            << " engine; the most frequent class has " << codec_app::FormatFixed(100 * majority, 2)
            << " %\n";
  return {};
}

Result<> Bench(const Call& call) {
  FL_TRY(const nn::ModelFile file, ReadModel(call.in));
  deploy::Instruments instruments = MachineInstruments();
  instruments.runs = call.runs;
  instruments.batch = call.batch;
  FL_TRY(const std::vector<ModelBenchRow> rows, BenchModel(file, instruments));
  std::cout << (call.json ? ModelBenchToJson(rows, call.batch) : DrawModelBench(rows, call.batch));
  return {};
}

Result<> RunProbe(const Call& call) {
  deploy::Instruments instruments = MachineInstruments();
  constexpr std::size_t kRuns = 100;
  instruments.runs = kRuns;
  FL_TRY(const HardwareProfile profile, ProbeMachine(instruments));
  FL_TRY_OK(WriteFileAtomically(call.out, AsBytes(ProfileToToml(profile))));
  std::cout << call.out << ": " << profile.instruction_set << " "
            << codec_app::FormatFixed(profile.fp32_gflops, 1) << " GFLOP/s, "
            << profile.integer_instruction_set << " "
            << codec_app::FormatFixed(profile.int8_gops, 1) << " GOP/s, memory "
            << codec_app::FormatFixed(profile.memory_gbps, 1) << " GB/s, "
            << profile.operators.size() << " operators\n";
  return {};
}

CLI::App& Begin(CLI::App& app, Call& call, const char* name, const char* what) {
  CLI::App& command = *app.add_subcommand(name, what);
  command.add_option("FILE", call.in, "A model file (safetensors)")->required();
  command.add_flag("--json", call.json, "Print JSON");
  return command;
}

}  // namespace

void AddInfo(CLI::App& app, Call& call, Action& action) {
  Begin(app, call, "info", "Layers, shapes, parameters, operations, bytes by tensor").callback([&] {
    action = Info;
  });
}

void AddEvaluate(CLI::App& app, Call& call, Action& action) {
  CLI::App& command =
      Begin(app, call, "evaluate", "Accuracy on data, by the engine that runs the file");
  AddData(command, call);
  command.callback([&] { action = Evaluate; });
}

void AddBench(CLI::App& app, Call& call, Action& action) {
  CLI::App& command =
      Begin(app, call, "bench", "Latency in fp32 and in int8: median, 99th percentile, least");
  command.add_option("--batch", call.batch, "Samples of one run")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command.add_option("--runs", call.runs, "Runs of each engine, in four rounds that take turns")
      ->check(CLI::Range(4, 1000000))
      ->capture_default_str();
  command.add_option("--threads", call.threads, "Threads: the engine has one")
      ->check(CLI::Range(1, 1))
      ->capture_default_str();
  command.callback([&] { action = Bench; });
}

void AddProbe(CLI::App& app, Call& call, Action& action) {
  CLI::App& command = *app.add_subcommand(
      "probe", "What this machine can do, as a device profile: rates, caches, a latency table");
  command.add_option("--out", call.out, "The profile to write (TOML)")->required();
  command.callback([&] { action = RunProbe; });
}

void AddData(CLI::App& command, Call& call) {
  command
      .add_option("--data", call.data.source, "The samples:\n" + std::string(data::SourceHelp()))
      ->required();
  command.add_option("--label", call.data.label, "CSV: the column of the classes");
  command.add_option("--normalize", call.data.normalize,
                     "none, unit or \"standard mean M... scale S...\"; by default what the model "
                     "file says");
}

}  // namespace fl::model_app
