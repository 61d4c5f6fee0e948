#include "fl/compression/app/model/model_info.h"

#include <nlohmann/json.hpp>

#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/model_file.h"
#include "fl/common/nn/operator.h"
#include "fl/common/tensor/safetensors.h"
#include "fl/compression/app/text_table.h"
#include "fl/compression/deploy/measure_model.h"

namespace fl::model_app {
namespace {

using codec_app::Align;
using codec_app::FormatCount;
using codec_app::TextTable;

deploy::WorkingModel ToWorkingModel(const nn::ModelFile& file) {
  if (const auto* floats = std::get_if<nn::FloatModel>(&file.model))
    return {floats->graph, floats->parameters};
  const auto& integers = std::get<nn::QuantizedModel>(file.model);
  deploy::WorkingModel model{integers.graph};
  model.quantized = integers;
  return model;
}

LayerRow RowOf(const nn::Graph& graph, const nn::Node& node, const std::string& line) {
  LayerRow row{node.name, line, node.shape.ToText()};
  for (const std::size_t tensor : node.parameters)
    row.parameters += graph.parameters[tensor].shape.count();
  row.multiply_accumulates = nn::RulesOf(node.kind).cost(graph, node).flops / 2;
  return row;
}

}  // namespace

Result<ModelInfo> InspectModel(ByteSpan bytes) {
  FL_TRY(const nn::ModelFile file, nn::ParseModelFile(bytes));
  FL_TRY(const SafetensorsFile stored, ParseSafetensors(bytes));
  const nn::Graph& graph = file.graph();
  const deploy::ModelCost cost = deploy::CostOfModel(ToWorkingModel(file));
  ModelInfo info;
  const auto precision = stored.metadata.find("fl.precision");
  info.precision = precision == stored.metadata.end() ? "" : precision->second;
  info.input = graph.input_shape().ToText();
  info.loss = nn::LossName(graph.loss);
  info.normalization = file.normalization;
  info.labels = file.labels;
  info.notes = file.notes;
  info.file_bytes = bytes.size();
  info.parameters = cost.parameters;
  info.multiply_accumulates = cost.multiply_accumulates;
  info.activation_peak = cost.activation_peak;
  const std::vector<std::string> lines = nn::DescribeLayers(graph);
  for (std::size_t i = 1; i < graph.nodes.size(); ++i)
    info.layers.push_back(RowOf(graph, graph.nodes[i], lines[i - 1]));
  for (const StoredTensor& tensor : stored.tensors) {
    info.tensors.push_back({tensor.name, std::string(DTypeName(tensor.dtype)),
                            tensor.shape.ToText(), tensor.data.size()});
  }
  return info;
}

std::string DrawInfo(const ModelInfo& info) {
  std::string text = info.precision + ", input " + info.input + ", " +
                     FormatCount(info.parameters) + " parameters, " +
                     FormatCount(static_cast<std::uint64_t>(info.multiply_accumulates)) +
                     " multiply-accumulates, " + FormatCount(info.file_bytes) + " bytes, " +
                     FormatCount(info.activation_peak) + " bytes of activations at once\n";
  text += "loss " + info.loss + "; normalization " +
          (info.normalization.empty() ? "not said" : info.normalization) + "\n";
  for (const auto& [key, value] : info.notes) text.append(key).append(": ").append(value) += '\n';
  TextTable layers({Align::kLeft, Align::kLeft, Align::kRight, Align::kRight, Align::kRight});
  layers.AddRow({"layer", "is", "output", "parameters", "MACs"});
  for (const LayerRow& row : info.layers) {
    layers.AddRow({row.name, row.line, row.shape, FormatCount(row.parameters),
                   FormatCount(static_cast<std::uint64_t>(row.multiply_accumulates))});
  }
  TextTable tensors({Align::kLeft, Align::kLeft, Align::kRight, Align::kRight});
  tensors.AddRow({"tensor", "type", "shape", "bytes"});
  for (const TensorRow& row : info.tensors)
    tensors.AddRow({row.name, row.type, row.shape, FormatCount(row.bytes)});
  return text + "\n" + layers.Draw() + "\n" + tensors.Draw();
}

std::string InfoToJson(const ModelInfo& info) {
  using Json = nlohmann::ordered_json;
  Json json = {{"precision", info.precision},
               {"input", info.input},
               {"loss", info.loss},
               {"normalization", info.normalization},
               {"file_bytes", info.file_bytes},
               {"parameters", info.parameters},
               {"multiply_accumulates", info.multiply_accumulates},
               {"activation_peak_bytes", info.activation_peak},
               {"labels", info.labels},
               {"notes", info.notes}};
  json["layers"] = Json::array();
  for (const LayerRow& row : info.layers) {
    json["layers"].push_back({{"name", row.name},
                              {"line", row.line},
                              {"shape", row.shape},
                              {"parameters", row.parameters},
                              {"multiply_accumulates", row.multiply_accumulates}});
  }
  json["tensors"] = Json::array();
  for (const TensorRow& row : info.tensors) {
    json["tensors"].push_back(
        {{"name", row.name}, {"type", row.type}, {"shape", row.shape}, {"bytes", row.bytes}});
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace fl::model_app
