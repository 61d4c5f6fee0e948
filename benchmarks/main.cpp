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
#include "fl/benchmarks/server.h"
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
  std::vector<std::string> peers;        // NAME=FIGURE.
  std::string onnx;
  fl::bench::ServerConfig server;
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
      message.append(": expected NAME=FIGURE, found \"").append(figure).append("\"");
      return fl::Error{fl::ErrorCode::kInvalidArgument, std::move(message)};
    }
    times[figure.substr(0, equals)] = time;
  }
  return times;
}

fl::Result<> RunServerGroup(const std::string& group, const Call& call, fl::bench::Report& report) {
  fl::bench::ServerConfig config = call.server;
  config.conditions = call.codecs.conditions;
  config.only = call.codecs.only;
  FL_TRY(config.peers, ReadTimes("--peer", call.peers));
  if (group == "load") return fl::bench::RunLoadRows(config, report);
  FL_TRY_OK(fl::bench::RunServerRows(config, report));
  FL_TRY_OK(fl::bench::RunFoldRows(config, report));
  return fl::bench::RunSimulationRows(config, report);
}

fl::Result<> RunGroup(const std::string& group, const Call& call, fl::bench::Report& report) {
  if (group == "codecs") return fl::bench::RunCodecs(call.codecs, report);
  if (group == "models") {
    FL_TRY(const Times times, ReadTimes("--onnxruntime", call.onnxruntime));
    return fl::bench::RunModels({call.codecs.conditions, call.codecs.only, times}, report);
  }
  if (group == "server" || group == "load") return RunServerGroup(group, call, report);
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
  app.add_option("group", call.groups,
                 "What to measure: codecs (the default), models, training, server, load")
      ->check(CLI::IsMember({"codecs", "models", "training", "server", "load"}));
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
  app.add_option("--peer", call.peers, "NAME=FIGURE of a peer, to compare server with")
      ->allow_extra_args(false);
  app.add_option("--seconds", call.server.seconds, "Of each measurement under load")
      ->check(CLI::Range(0.5, 600.0));
  app.add_option("--programs", call.server.programs, "The folder that holds fl-sim");
  app.add_option("--configs", call.server.configs, "The folder that holds mnist-shards.toml");
  app.add_option("--datasets", call.server.datasets, "The folder that holds mnist/");
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
