#include "fl/compression/app/model/convert_model.h"

#include <algorithm>
#include <charconv>

#include "fl/common/nn/onnx/export_onnx.h"
#include "fl/common/nn/onnx/import_onnx.h"
#include "fl/common/nn/onnx/pytorch_tensors.h"
#include "fl/common/tensor/safetensors.h"

namespace fl::model_app {
namespace {

Error Invalid(std::string message) {
  return {ErrorCode::kInvalidArgument, std::move(message)};
}

// A safetensors file begins with its header's length and a brace; an ONNX file with a field's tag.
bool IsSafetensors(ByteSpan bytes) {
  constexpr std::size_t kLengthBytes = 8;
  return bytes.size() > kLengthBytes && bytes[kLengthBytes] == std::byte{'{'};
}

Result<Shape> ParseInput(std::string_view text) {
  std::vector<std::size_t> extents;
  for (std::string_view rest = text;;) {
    const std::size_t cross = std::min(rest.find('x'), rest.size());
    std::size_t extent = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + cross, extent);
    if (error != std::errc{} || end != rest.data() + cross || extent == 0) break;
    extents.push_back(extent);
    if (cross == rest.size()) return Shape(std::move(extents));
    rest.remove_prefix(cross + 1);
  }
  return Invalid("--input: expected one sample's extents such as 28x28x1, found \"" +
                 std::string(text.substr(0, 64)) + "\"");
}

Result<nn::ModelFile> ImportTensors(ByteSpan bytes, const NetworkLines& network) {
  FL_TRY(const Shape input, ParseInput(network.input));
  FL_TRY(const nn::Graph graph, nn::BuildGraph(input, network.layers, network.loss));
  nn::ModelFile file;
  FL_TRY(file.model, onnx::ImportPytorchTensors(bytes, graph));
  return file;
}

}  // namespace

Result<Bytes> ExportModel(const nn::ModelFile& file, std::string_view format,
                          std::string_view layout) {
  if (format == "onnx" && (layout.empty() || layout == "onnx")) {
    FL_TRY(const onnx::OnnxModel model, onnx::ExportOnnx(file));
    return onnx::SerializeOnnx(model);
  }
  if (format == "safetensors" && layout == "pytorch") return onnx::ExportPytorchTensors(file);
  if (format == "safetensors" && (layout.empty() || layout == "fl"))
    return nn::SerializeModelFile(file);
  return Invalid(
      "export: expected --format onnx, or --format safetensors with --layout fl or "
      "pytorch, found \"" +
      std::string(format) + "\" with \"" + std::string(layout) + "\"");
}

Result<nn::ModelFile> ImportModel(ByteSpan bytes, const NetworkLines& network) {
  const bool lines = !network.layers.empty();
  if (IsSafetensors(bytes)) {
    FL_TRY(const SafetensorsFile file, ParseSafetensors(bytes));
    const bool ours = file.metadata.contains("fl.format");
    if (!ours && lines) return ImportTensors(bytes, network);
    if (!ours) {
      return Invalid(
          "import: expected --layers FILE and --input SHAPE for a file of tensors, which "
          "does not say its network");
    }
  }
  if (lines) return Invalid("import: expected no --layers for a file that says its network");
  return IsSafetensors(bytes) ? nn::ParseModelFile(bytes) : onnx::ImportOnnx(bytes);
}

std::vector<std::string> LayerLines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, std::min(text.find('#'), end));
    text.remove_prefix(std::min(end + 1, text.size()));
    line.remove_prefix(std::min(line.find_first_not_of(" \t\r"), line.size()));
    line.remove_suffix(line.size() - (line.find_last_not_of(" \t\r") + 1));
    if (!line.empty()) lines.emplace_back(line);
  }
  return lines;
}

}  // namespace fl::model_app
