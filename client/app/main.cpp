// fl-client: one device of a federation.

#include <cstdio>
#include <exception>
#include <functional>
#include <iostream>
#include <string>

#include <CLI/CLI.hpp>

#include "fl/client/app/commands.h"
#include "fl/common/data/source.h"

namespace {

using fl::Error;
using fl::ErrorCode;
using fl::Result;

constexpr const char* kVersion = "fl-client 0.1.0";

// 2 where the call or what it names is at fault, 1 for all else.
int StatusOf(const Error& error) {
  switch (error.code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kNotFound:
    case ErrorCode::kShapeMismatch:
    case ErrorCode::kUnsupported:
      return 2;
    default:
      return 1;
  }
}

struct Calls {
  fl::client::RunCall run;
  fl::client::PredictCall predict;
  fl::client::ServeCall serve;
  std::string state;
  std::string log_level = "info";
  std::string log_format = "text";
  bool json = false;
};

void AddLogOptions(CLI::App& command, Calls& calls) {
  command.add_option("--log-level", calls.log_level, "debug, info, warning, error or off")
      ->check(CLI::IsMember({"debug", "info", "warning", "error", "off"}))
      ->capture_default_str();
  command.add_option("--log-format", calls.log_format, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
}

CLI::App* AddRun(CLI::App& app, Calls& calls) {
  CLI::App* run = app.add_subcommand("run", "Takes part in a federation until it is told to stop");
  run->add_option("--server", calls.run.server, "HOST:PORT of the server")->required();
  run->add_option("--pki", calls.run.pki, "Folder with ca.crt, client.crt and client.key")
      ->required();
  run->add_option("--data", calls.run.data, "The device's samples, a SOURCE (see below)")
      ->required();
  run->add_option("--state", calls.run.state, "Folder for what the device keeps")->required();
  run->add_option("--federation", calls.run.federation,
                  "Name of the federation; the server's only one when absent");
  run->add_flag("--until-done", calls.run.until_done, "End when the federation is done");
  AddLogOptions(*run, calls);
  // --config belongs to the whole program; its keys stand under [run].
  run->fallthrough();
  run->footer(
      "Example:\n  fl-client run --server localhost:8443 --pki pki/device-1 --data "
      "train.csv --state state/device-1\n\nSOURCE is one of\n" +
      std::string(fl::data::SourceHelp()));
  return run;
}

CLI::App* AddPredict(CLI::App& app, Calls& calls) {
  CLI::App* predict = app.add_subcommand("predict", "What the installed local model says");
  predict->add_option("--state", calls.predict.state, "The device's state folder")->required();
  CLI::Option* data = predict->add_option("--data", calls.predict.data, "Samples, a SOURCE");
  predict->add_option("--image", calls.predict.images, "Grey pictures in PGM format")
      ->excludes(data);
  predict->add_option("--count", calls.predict.count, "How many of the source's samples")
      ->needs(data)
      ->capture_default_str();
  predict->add_flag("--json", calls.predict.json, "Print JSON");
  predict->add_flag("--draw", calls.predict.draw, "Draw pictures as text");
  predict->require_option(2, 0);
  predict->footer(
      "Example:\n  fl-client predict --state state/device-1 --data "
      "idx:data/mnist-mini/test --count 3 --draw\n");
  return predict;
}

CLI::App* AddServe(CLI::App& app, Calls& calls) {
  CLI::App* serve =
      app.add_subcommand("serve", "Serves the installed local model to programs of this machine");
  serve->add_option("--state", calls.serve.state, "The device's state folder")->required();
  serve->add_option("--socket", calls.serve.socket,
                    "Path of a Unix socket; DIR/serve.sock without --socket and --listen");
  serve->add_option("--listen", calls.serve.listen,
                    "HOST:PORT, a loopback address; port 0: any free one");
  AddLogOptions(*serve, calls);
  serve->footer(
      "Example:\n  fl-client serve --state state/device-1 --listen 127.0.0.1:8080\n  curl -d "
      "'{\"sample\": [0.1, 0.2]}' http://127.0.0.1:8080/predict\n\nThe bound address is written to "
      "DIR/serve-address. POST /predict, GET /health, GET /model.\n");
  return serve;
}

Result<> RunWith(Calls& calls) {
  calls.run.log_level = *fl::ParseLogLevel(calls.log_level);
  calls.run.log_format = *fl::ParseLogFormat(calls.log_format);
  return fl::client::RunDevice(calls.run);
}

Result<> ServeWith(Calls& calls) {
  calls.serve.log_level = *fl::ParseLogLevel(calls.log_level);
  calls.serve.log_format = *fl::ParseLogFormat(calls.log_format);
  return fl::client::Serve(calls.serve);
}

// CLI11 reports a wrong call by exceptions, which end here.
int RunProgram(int argc, char** argv) {
  CLI::App app("One device of a federation: trains on its own data, serves its own local model.");
  app.set_version_flag("--version", kVersion);
  app.footer(
      "Example: take part in a federation, then ask the local model that came of it\n"
      "  fl-client run --server localhost:8443 --pki pki/camera-17 --data train.csv --state state\n"
      "  fl-client predict --state state --data test.csv --count 3\n");
  app.set_config("--config", "", "TOML file with the options of `run` under [run]");
  app.require_subcommand(1);
  app.failure_message([](const CLI::App*, const CLI::Error& error) {
    return "fl-client: " + std::string(error.what()) + "; see fl-client --help\n";
  });
  Calls calls;
  Result<> outcome;
  AddRun(app, calls)->final_callback([&] { outcome = RunWith(calls); });
  AddPredict(app, calls)->final_callback([&] { outcome = fl::client::Predict(calls.predict); });
  AddServe(app, calls)->final_callback([&] { outcome = ServeWith(calls); });

  CLI::App* rollback = app.add_subcommand("rollback", "Goes back to the previous local model");
  rollback->add_option("--state", calls.state, "The device's state folder")->required();
  rollback->final_callback([&] { outcome = fl::client::Rollback(calls.state); });

  CLI::App* info = app.add_subcommand("info", "What the device keeps, ran and contributed");
  info->add_option("--state", calls.state, "The device's state folder")->required();
  info->add_flag("--json", calls.json, "Print JSON");
  info->final_callback([&] { outcome = fl::client::ShowInfo(calls.state, calls.json); });

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (outcome) return 0;
  std::cerr << "fl-client: " << outcome.error().message << '\n';
  return StatusOf(outcome.error());
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return RunProgram(argc, argv);
  } catch (const std::exception& error) {  // Only what nothing else could catch: no memory, say.
    std::fprintf(stderr, "fl-client: %s\n", error.what());
    return 1;
  }
}
