#include "fl/common/nn/onnx/import_onnx.h"

#include <algorithm>

#include "fl/common/nn/onnx/internal/import_graph.h"

namespace fl::onnx {
namespace {

constexpr std::string_view kNotePrefix = "fl.note.";
constexpr std::int64_t kOpsetMin = 11;

std::vector<std::string> SplitLines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::string LossOf(const OnnxModel& model, const Shape& output) {
  const auto found = model.metadata.find("fl.loss");
  if (found != model.metadata.end()) return found->second;
  const bool classes = output.rank() == 1 && output[0] >= 2;
  return std::string(
      nn::LossName(classes ? nn::LossKind::kSoftmaxCrossEntropy : nn::LossKind::kMeanSquaredError));
}

Result<> ReadMetadata(const OnnxModel& model, nn::ModelFile& to) {
  for (const auto& [key, value] : model.metadata) {
    if (key == "fl.labels") to.labels = SplitLines(value);
    if (key == "fl.normalization") to.normalization = value;
    if (key.starts_with(kNotePrefix)) to.notes[key.substr(kNotePrefix.size())] = value;
  }
  const std::size_t outputs = to.graph().output_shape().count();
  if (to.labels.empty() || to.labels.size() == outputs) return {};
  return Error{ErrorCode::kMalformed, "ONNX: fl.labels: expected " + std::to_string(outputs) +
                                          " lines, found " + std::to_string(to.labels.size())};
}

}  // namespace

Result<nn::ModelFile> ImportOnnx(ByteSpan bytes, const ImportLimits& limits) {
  FL_TRY(const OnnxModel model, ParseOnnx(bytes, limits.file));
  if (model.opset < kOpsetMin) {
    return Error{ErrorCode::kUnsupported, "ONNX: expected operators of version " +
                                              std::to_string(kOpsetMin) + " or later, found " +
                                              std::to_string(model.opset)};
  }
  internal::GraphReader reader(model);
  FL_TRY(internal::ImportedLayers layers, reader.Read());
  nn::ModelFile file;
  const std::string loss = LossOf(model, layers[layers.size() - 1].shape);
  FL_TRY(file.model, layers.Build(loss, reader.integer(), limits.graph));
  FL_TRY_OK(ReadMetadata(model, file));
  if (reader.clamped() > 0) file.notes["onnx.clamped"] = std::to_string(reader.clamped());
  return file;
}

std::string SupportedOperators() {
  return internal::GraphReader::SupportedOperators();
}

}  // namespace fl::onnx
