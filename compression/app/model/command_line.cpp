#include "fl/compression/app/model/command_line.h"

#include <iostream>
#include <string>

#include <CLI/CLI.hpp>

#include "fl/compression/app/model/call.h"

namespace fl::model_app {
namespace {

constexpr const char* kExample =
    "Example: the model of a federation, made small for a device\n"
    "  fl-model info out/model.safetensors\n"
    "  fl-model compress out/model.safetensors --passes configs/passes/distil-int8.toml \\\n"
    "    --data idx:data/mnist-mini/train --out small.safetensors\n"
    "  fl-model evaluate small.safetensors --data idx:data/mnist-mini/test\n"
    "  fl-model bench small.safetensors\n"
    "Example: for a device that is not here\n"
    "  fl-model probe --out device.toml                 # on the device\n"
    "  fl-model compress ... --profile device.toml      # here\n";

// Every command, in the order of --help.
constexpr AddCommand kCommands[] = {AddInfo,  AddEvaluate, AddCompress, AddBench,
                                    AddProbe, AddExport,   AddImport};

// 2 where the call or what it names is at fault, 1 for all else.
int StatusOf(const Error& error) {
  switch (error.code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kNotFound:
    case ErrorCode::kMalformed:
    case ErrorCode::kShapeMismatch:
    case ErrorCode::kUnsupported:
      return 2;
    default:
      return 1;
  }
}

}  // namespace

int RunCommandLine(int argc, const char* const* argv) {
  Call call;
  Action action = nullptr;
  CLI::App app("Looks at model files, compresses them by a pass list and measures them.",
               "fl-model");
  app.set_version_flag("--version", "fl-model " FL_VERSION);
  app.footer(kExample);
  app.require_subcommand(1);
  app.failure_message([](const CLI::App*, const CLI::Error& error) {
    return "fl-model: " + std::string(error.what()) + "; see fl-model --help\n";
  });
  for (const AddCommand add : kCommands) add(app, call, action);
  for (CLI::App* command : app.get_subcommands({})) command->footer(kExample);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const Result<> outcome = action(call);
  if (outcome) return 0;
  std::cerr << "fl-model: " << outcome.error().message << '\n';
  return StatusOf(outcome.error());
}

}  // namespace fl::model_app
