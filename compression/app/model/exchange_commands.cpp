#include <iostream>

#include <CLI/CLI.hpp>

#include "fl/common/base/file.h"
#include "fl/compression/app/model/call.h"
#include "fl/compression/app/model/convert_model.h"

namespace fl::model_app {
namespace {

constexpr std::uint64_t kFileBytesMax = 1ULL << 33;
constexpr std::uint64_t kLinesBytesMax = 1U << 20;

Result<> Export(const Call& call) {
  FL_TRY(const nn::ModelFile file, ReadModel(call.in));
  const auto bytes = ExportModel(file, call.format, call.layout);
  if (!bytes) return bytes.error().At(call.in);
  FL_TRY_OK(WriteFileAtomically(call.out, *bytes));
  std::cout << call.out << ": " << bytes->size() << " bytes\n";
  return {};
}

Result<> Import(const Call& call) {
  FL_TRY(const Bytes bytes, ReadFile(call.in, kFileBytesMax));
  NetworkLines network;
  network.input = call.input;
  network.loss = call.loss;
  if (!call.layers.empty()) {
    FL_TRY(const Bytes text, ReadFile(call.layers, kLinesBytesMax));
    network.layers = LayerLines(AsText(text));
  }
  const auto file = ImportModel(bytes, network);
  if (!file) return file.error().At(call.in);
  const Bytes written = nn::SerializeModelFile(*file);
  FL_TRY_OK(WriteFileAtomically(call.out, written));
  const bool integer = std::holds_alternative<nn::QuantizedModel>(file->model);
  std::cout << call.out << ": " << (integer ? "int8" : "fp32") << ", input "
            << file->graph().input_shape().ToText() << ", " << file->graph().nodes.size() - 1
            << " layers, " << written.size() << " bytes\n";
  return {};
}

}  // namespace

void AddExport(CLI::App& app, Call& call, Action& action) {
  CLI::App& command = *app.add_subcommand("export", "Writes a model for other programs");
  command.add_option("FILE", call.in, "A model file (safetensors)")->required();
  command.add_option("--format", call.format, "onnx or safetensors")->required();
  command.add_option("--layout", call.layout,
                     "Of safetensors: fl (a model file, the default) or pytorch (tensors alone)");
  command.add_option("--out", call.out, "The file to write")->required();
  command.callback([&] { action = Export; });
}

void AddImport(CLI::App& app, Call& call, Action& action) {
  CLI::App& command =
      *app.add_subcommand("import", "Makes a model file of an ONNX file or of PyTorch's tensors");
  command.add_option("FILE", call.in, "ONNX, or safetensors")->required();
  command.add_option("--layers", call.layers,
                     "Of tensors alone: a file with the network's layers, one a line");
  command.add_option("--input", call.input, "Of tensors alone: one sample's extents, 28x28x1");
  command
      .add_option("--loss", call.loss,
                  "Of tensors alone: softmax_cross_entropy or mean_squared_error")
      ->capture_default_str();
  command.add_option("--out", call.out, "The model file to write")->required();
  command.callback([&] { action = Import; });
}

}  // namespace fl::model_app
