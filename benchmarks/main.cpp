#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <map>

#include <CLI/CLI.hpp>

#include "fl/benchmarks/codecs.h"
#include "fl/benchmarks/models.h"
#include "fl/benchmarks/training.h"
#include "fl/benchmarks/zoo_models.h"

namespace {

struct Call {
  std::vector<std::string> groups = {"codecs"};
  std::string json;
  std::string recorded;
  fl::bench::CodecsConfig codecs;
  std::vector<std::string> torch;        // NETWORK=MILLISECONDS.
  std::vector<std::string> onnxruntime;  // NETWORK=MICROSECONDS.
  std::string onnx;
};

using Times = std::map<std::string, double, std::less<>>;

// NETWORK=TIME of a peer.
fl::Result<Times> ReadTimes(const std::string& option, const std::vector<std::string>& figures) {
  Times times;
  for (const std::string& figure : figures) {
    const std::size_t equals = std::min(figure.find('='), figure.size());
    const double time = std::strtod(figure.c_str() + std::min(equals + 1, figure.size()), nullptr);
    if (!(time > 0)) {
      std::string message = option;
      message.append(": expected NETWORK=TIME, found \"").append(figure).append("\"");
      return fl::Error{fl::ErrorCode::kInvalidArgument, std::move(message)};
    }
    times[figure.substr(0, equals)] = time;
  }
  return times;
}

fl::Result<> RunGroup(const std::string& group, const Call& call, fl::bench::Report& report) {
  if (group == "codecs") return fl::bench::RunCodecs(call.codecs, report);
  if (group == "models") {
    FL_TRY(const Times times, ReadTimes("--onnxruntime", call.onnxruntime));
    return fl::bench::RunModels({call.codecs.conditions, call.codecs.only, times}, report);
  }
  FL_TRY(const Times times, ReadTimes("--torch", call.torch));
  return fl::bench::RunTraining({call.codecs.conditions, call.codecs.only, times}, report);
}

int WriteOnnx(const Call& call) {
  const auto written =
      fl::bench::WriteMeasuredModels(call.onnx, call.codecs.only, call.codecs.conditions);
  if (written) return 0;
  std::cerr << "fl-bench: " << written.error().message << "\n";
  return 1;
}

int Run(const Call& call) {
  fl::bench::Report report(call.codecs.conditions);
  for (const std::string& group : call.groups) {
    if (const auto done = RunGroup(group, call, report); !done) {
      std::cerr << "fl-bench: " << done.error().message << "\n";
      return 1;
    }
  }
  std::cout << report.Draw();
  if (call.json.empty()) return 0;
  std::ofstream file(call.json);
  file << report.ToJson();
  if (file.flush()) return 0;
  std::cerr << "fl-bench: cannot write " << call.json << "\n";
  return 1;
}

int RunCommandLine(int argc, char** argv) {
  Call call;
  CLI::App app(
      "Measures fl against bars: bytes, errors and speeds.\n\n  fl-bench codecs --json "
      "codecs.json");
  app.set_version_flag("--version", FL_VERSION);
  app.add_option("group", call.groups, "What to measure: codecs (the default), models, training")
      ->check(CLI::IsMember({"codecs", "models", "training"}));
  app.add_option("--json", call.json, "Also write the rows to this file");
  app.add_option("--recorded", call.recorded, "A folder of fl-sim run --record-updates");
  app.add_option("--seed", call.codecs.conditions.seed, "Of all values and codecs");
  app.add_option("--repeats", call.codecs.conditions.repeats, "Of each timing; rows are medians")
      ->check(CLI::Range(1, 1000));
  app.add_option("--only", call.codecs.only, "Time only recipes or networks whose name holds this");
  app.add_option("--side", call.codecs.side, "Timed matrices are this many values wide and high")
      ->check(CLI::Range(256, 4096));
  app.add_option("--torch", call.torch, "NETWORK=MILLISECONDS of PyTorch, to compare training with")
      ->allow_extra_args(false);
  app.add_option("--onnxruntime", call.onnxruntime,
                 "NETWORK=MICROSECONDS of ONNX Runtime in int8, to compare models with")
      ->allow_extra_args(false);
  app.add_option("--write-onnx", call.onnx,
                 "Write the int8 networks of models into this folder, and measure nothing");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  call.codecs.recorded = call.recorded;
  return call.onnx.empty() ? Run(call) : WriteOnnx(call);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return RunCommandLine(argc, argv);
  } catch (const std::exception& error) {  // Only what nothing else could catch: no memory, say.
    std::fprintf(stderr, "fl-bench: %s\n", error.what());
    return 1;
  }
}
