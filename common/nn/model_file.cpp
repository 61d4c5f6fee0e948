#include "fl/common/nn/model_file.h"

#include <algorithm>
#include <charconv>

#include "fl/common/nn/plain_graph.h"
#include "fl/common/tensor/safetensors.h"

namespace fl::nn {
namespace {

constexpr std::string_view kNotePrefix = "fl.note.";

Error Malformed(std::string message) {
  return {ErrorCode::kMalformed, "model file: " + std::move(message)};
}

std::string JoinLines(std::span<const std::string> lines) {
  std::string text;
  for (const std::string& line : lines) text += (text.empty() ? "" : "\n") + line;
  return text;
}

std::vector<std::string> SplitLines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

// "28x28x1", at most three extents.
Result<Shape> ParseShape(std::string_view text) {
  std::vector<std::size_t> extents;
  const char* at = text.data();
  const char* const end = text.data() + text.size();
  while (extents.size() < 3) {
    std::size_t extent = 0;
    const auto [next, error] = std::from_chars(at, end, extent);
    if (error != std::errc{} || extent == 0) break;
    extents.push_back(extent);
    if (next == end) return Shape(std::move(extents));
    if (*next != 'x') break;
    at = next + 1;
  }
  return Malformed("fl.input: expected a shape such as 28x28x1, found \"" +
                   std::string(text.substr(0, 64)) + "\"");
}

Result<std::string> Require(const SafetensorsFile& file, const std::string& key) {
  const auto found = file.metadata.find(key);
  if (found == file.metadata.end())
    return Malformed("expected the metadata " + key + ", found none");
  return found->second;
}

Result<Graph> ReadGraph(const SafetensorsFile& file, const GraphLimits& limits) {
  FL_TRY(const std::string format, Require(file, "fl.format"));
  if (format != "1") {
    return Error{ErrorCode::kUnsupported,
                 "model file: expected fl.format 1, found \"" + format + "\""};
  }
  FL_TRY(const std::string input_text, Require(file, "fl.input"));
  FL_TRY(const Shape input, ParseShape(input_text));
  FL_TRY(const std::string layers, Require(file, "fl.layers"));
  FL_TRY(const std::string loss, Require(file, "fl.loss"));
  return BuildGraph(input, SplitLines(layers), loss, nullptr, limits);
}

// A tensor of a given type and length, read into a vector.
template <typename T>
Result<std::vector<T>> ReadIntegers(const SafetensorsFile& file, const std::string& name,
                                    DType dtype, std::size_t count) {
  const StoredTensor* tensor = file.Find(name);
  if (tensor == nullptr || tensor->dtype != dtype || tensor->data.size() != count * sizeof(T)) {
    return Error{ErrorCode::kShapeMismatch, "model file: tensor " + name + ": expected " +
                                                std::to_string(count) + " values of " +
                                                std::string(DTypeName(dtype))};
  }
  std::vector<T> values(count);
  if (count > 0) std::memcpy(values.data(), tensor->data.data(), tensor->data.size());
  return values;
}

StoredTensor StoreValues(std::string name, DType dtype, Shape shape, ByteSpan values) {
  return {std::move(name), dtype, std::move(shape), Bytes(values.begin(), values.end())};
}

// Output channel first.
Shape StoredWeightShape(const Shape& weight) {
  std::vector<std::size_t> extents = {weight[weight.rank() - 1]};
  extents.insert(extents.end(), weight.extents().begin(), weight.extents().end() - 1);
  return Shape(std::move(extents));
}

Result<QuantizedModel> ReadQuantized(const SafetensorsFile& file, const Graph& graph) {
  FL_TRY_OK(ExpectPlain(graph, "model file: int8"));
  QuantizedModel model{graph, {}, std::vector<QuantizedNode>(graph.nodes.size())};
  const std::size_t count = graph.nodes.size();
  FL_TRY(const std::vector<float> scales,
         ReadIntegers<float>(file, "activation.scale", DType::kF32, count));
  FL_TRY(const std::vector<std::int32_t> zeros,
         ReadIntegers<std::int32_t>(file, "activation.zero_point", DType::kI32, count));
  std::size_t tensors = 2;
  for (std::size_t i = 0; i < count; ++i) {
    model.activations.push_back({scales[i], zeros[i]});
    const Node& node = graph.nodes[i];
    if (node.parameters.empty()) continue;
    const Shape& weight = graph.parameters[node.parameters[0]].shape;
    const std::size_t channels = weight[weight.rank() - 1];
    QuantizedNode& to = model.nodes[i];
    FL_TRY(to.weight,
           ReadIntegers<std::int8_t>(file, node.name + ".weight", DType::kI8, weight.count()));
    FL_TRY(to.weight_scale, ReadIntegers<float>(file, node.name + ".scale", DType::kF32, channels));
    FL_TRY(to.bias, ReadIntegers<std::int32_t>(file, node.name + ".bias", DType::kI32, channels));
    tensors += 3;
  }
  if (file.tensors.size() != tensors) {
    return Malformed("expected " + std::to_string(tensors) + " tensors, found " +
                     std::to_string(file.tensors.size()));
  }
  FL_TRY_OK(model.Validate());
  return model;
}

Result<FloatModel> ReadFloat(const SafetensorsFile& file, const Graph& graph) {
  if (file.tensors.size() != graph.parameters.size()) {
    return Malformed("expected " + std::to_string(graph.parameters.size()) + " tensors, found " +
                     std::to_string(file.tensors.size()));
  }
  FL_TRY(NamedTensors tensors, ExtractTensors(file, graph.parameters));
  if (!AllFinite(tensors.values)) {
    return Error{ErrorCode::kNotFinite, "model file: a parameter is not finite"};
  }
  return FloatModel{graph, std::move(tensors.values)};
}

Result<> ReadDescription(const SafetensorsFile& file, ModelFile& to) {
  for (const auto& [key, value] : file.metadata) {
    if (key == "fl.labels") to.labels = SplitLines(value);
    if (key == "fl.normalization") to.normalization = value;
    if (key.starts_with(kNotePrefix)) to.notes[key.substr(kNotePrefix.size())] = value;
  }
  const std::size_t outputs = to.graph().output_shape().count();
  if (to.labels.empty() || to.labels.size() == outputs) return {};
  return Malformed("fl.labels: expected " + std::to_string(outputs) + " lines, found " +
                   std::to_string(to.labels.size()));
}

void AppendQuantized(const QuantizedModel& model, SafetensorsFile& file) {
  std::vector<float> scales;
  std::vector<std::int32_t> zeros;
  for (std::size_t i = 0; i < model.graph.nodes.size(); ++i) {
    scales.push_back(model.activations[i].scale);
    zeros.push_back(model.activations[i].zero_point);
    const Node& node = model.graph.nodes[i];
    if (node.parameters.empty()) continue;
    const QuantizedNode& from = model.nodes[i];
    const Shape channels{from.bias.size()};
    file.tensors.push_back(
        StoreValues(node.name + ".weight", DType::kI8,
                    StoredWeightShape(model.graph.parameters[node.parameters[0]].shape),
                    std::as_bytes(std::span(from.weight))));
    file.tensors.push_back(StoreValues(node.name + ".scale", DType::kF32, channels,
                                       std::as_bytes(std::span(from.weight_scale))));
    file.tensors.push_back(StoreValues(node.name + ".bias", DType::kI32, channels,
                                       std::as_bytes(std::span(from.bias))));
  }
  const Shape nodes{scales.size()};
  file.tensors.push_back(
      StoreValues("activation.scale", DType::kF32, nodes, std::as_bytes(std::span(scales))));
  file.tensors.push_back(
      StoreValues("activation.zero_point", DType::kI32, nodes, std::as_bytes(std::span(zeros))));
}

}  // namespace

const Graph& ModelFile::graph() const {
  return std::visit([](const auto& held) -> const Graph& { return held.graph; }, model);
}

Result<ModelFile> ParseModelFile(ByteSpan bytes, const ModelFileLimits& limits) {
  SafetensorsLimits outer;
  outer.data_bytes_max = limits.bytes_max;
  FL_TRY(const SafetensorsFile file, ParseSafetensors(bytes, outer));
  FL_TRY(const Graph graph, ReadGraph(file, limits.graph));
  FL_TRY(const std::string precision, Require(file, "fl.precision"));
  ModelFile result;
  if (precision == "fp32") {
    FL_TRY(result.model, ReadFloat(file, graph));
  } else if (precision == "int8") {
    FL_TRY(result.model, ReadQuantized(file, graph));
  } else {
    return Error{ErrorCode::kUnsupported,
                 "model file: fl.precision: expected fp32 or int8, found \"" + precision + "\""};
  }
  FL_TRY_OK(ReadDescription(file, result));
  return result;
}

Bytes SerializeModelFile(const ModelFile& file) {
  const Graph& graph = file.graph();
  SafetensorsFile stored;
  stored.metadata = {{"fl.format", "1"},
                     {"fl.input", graph.input_shape().ToText()},
                     {"fl.layers", JoinLines(DescribeLayers(graph))},
                     {"fl.loss", std::string(LossName(graph.loss))}};
  if (!file.labels.empty()) stored.metadata["fl.labels"] = JoinLines(file.labels);
  if (!file.normalization.empty()) stored.metadata["fl.normalization"] = file.normalization;
  for (const auto& [key, value] : file.notes)
    stored.metadata[std::string(kNotePrefix) + key] = value;
  if (const auto* quantized = std::get_if<QuantizedModel>(&file.model)) {
    stored.metadata["fl.precision"] = "int8";
    AppendQuantized(*quantized, stored);
  } else {
    stored.metadata["fl.precision"] = "fp32";
    NamedTensors tensors;
    tensors.layout = graph.parameters;
    tensors.values = std::get<FloatModel>(file.model).parameters;
    AppendTensors(tensors, stored);
  }
  return SerializeSafetensors(stored);
}

}  // namespace fl::nn
