#include "fl/common/nn/onnx/export_onnx.h"

#include "fl/common/nn/materialize.h"
#include "fl/common/nn/onnx/internal/graph_writer.h"
#include "fl/common/nn/plain_graph.h"

namespace fl::onnx {
namespace {

constexpr std::uint64_t kConstantBytesMax = (std::uint64_t{1} << 31) - (std::uint64_t{1} << 20);

std::string JoinLines(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += (text.empty() ? "" : "\n") + line;
  return text;
}

Result<> CheckSize(const OnnxModel& model) {
  std::uint64_t bytes = 0;
  for (const Tensor& tensor : model.constants) bytes += tensor.data.size();
  if (bytes <= kConstantBytesMax) return {};
  return Error{ErrorCode::kLimitExceeded,
               "ONNX: expected at most " + std::to_string(kConstantBytesMax) +
                   " bytes of constants in one file, found " + std::to_string(bytes)};
}

Result<OnnxModel> WriteGraph(const nn::ModelFile& file) {
  if (const auto* quantized = std::get_if<nn::QuantizedModel>(&file.model)) {
    FL_TRY_OK(quantized->Validate());
    if (quantized->dynamic()) {
      return Error{
          ErrorCode::kUnsupported,
          "ONNX: a model whose activations are rounded sample by sample in each run has no "
          "form there (DynamicQuantizeLinear takes a whole batch); expected ptq_static"};
    }
    return internal::GraphWriter(quantized->graph, {}, quantized).Write();
  }
  const auto& held = std::get<nn::FloatModel>(file.model);
  if (!nn::IsFactored(held.graph)) {
    return internal::GraphWriter(held.graph, held.parameters, nullptr).Write();
  }
  FL_TRY(const nn::FloatModel plain, nn::Materialize(held.graph, held.parameters));
  return internal::GraphWriter(plain.graph, plain.parameters, nullptr).Write();
}

}  // namespace

Result<OnnxModel> ExportOnnx(const nn::ModelFile& file) {
  FL_TRY(OnnxModel model, WriteGraph(file));
  FL_TRY_OK(CheckSize(model));
  model.metadata["fl.loss"] = nn::LossName(file.graph().loss);
  if (!file.labels.empty()) model.metadata["fl.labels"] = JoinLines(file.labels);
  if (!file.normalization.empty()) model.metadata["fl.normalization"] = file.normalization;
  for (const auto& [key, value] : file.notes) model.metadata["fl.note." + key] = value;
  return model;
}

}  // namespace fl::onnx
