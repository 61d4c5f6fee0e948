#include "fl/common/nn/model_file.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>

#include "fl/common/nn/plain_graph.h"
#include "fl/common/nn/sparse_blocks.h"
#include "fl/common/tensor/half.h"
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

DType TypeOf(FloatStorage storage) {
  if (storage == FloatStorage::kFp16) return DType::kF16;
  return storage == FloatStorage::kBf16 ? DType::kBF16 : DType::kF32;
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

std::string_view PrecisionName(FloatStorage storage) {
  switch (storage) {
    case FloatStorage::kFp32:
      return "fp32";
    case FloatStorage::kFp16:
      return "fp16";
    case FloatStorage::kBf16:
      return "bf16";
  }
  return "unknown";
}

// NAME BITS [group=N] [asymmetric]
std::string CodingLine(const std::string& name, const WeightCoding& coding) {
  return name + " " + std::to_string(coding.bits) +
         (coding.group > 0 ? " group=" + std::to_string(coding.group) : "") +
         (coding.asymmetric ? " asymmetric" : "");
}

std::optional<std::size_t> ParseNumber(std::string_view text) {
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Takes the next word of a line.
std::string_view TakeWord(std::string_view& line) {
  const std::size_t end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word;
}

Result<std::pair<std::string, WeightCoding>> ParseCodingLine(std::string_view line) {
  const Error malformed = Malformed(
      "fl.coding: expected \"NAME BITS [group=N] [asymmetric]\" with 2 to 7 bits, found \"" +
      std::string(line.substr(0, 64)) + "\"");
  std::pair<std::string, WeightCoding> result;
  result.first = TakeWord(line);
  const std::optional<std::size_t> bits = ParseNumber(TakeWord(line));
  if (!bits || *bits < 2 || *bits > 7) return malformed;
  result.second.bits = static_cast<std::uint8_t>(*bits);
  if (line.starts_with("group=")) {
    const std::optional<std::size_t> group = ParseNumber(TakeWord(line).substr(6));
    if (!group || *group == 0) return malformed;
    result.second.group = *group;
  }
  if (line == "asymmetric") {
    result.second.asymmetric = true;
    line = {};
  }
  if (!line.empty()) return malformed;
  return result;
}

using Codings = std::map<std::string, WeightCoding>;

Result<Codings> ReadCodings(const SafetensorsFile& file) {
  Codings codings;
  const auto found = file.metadata.find("fl.coding");
  if (found == file.metadata.end()) return codings;
  for (const std::string& line : SplitLines(found->second)) {
    FL_TRY(auto coding, ParseCodingLine(line));
    if (!codings.insert(std::move(coding)).second)
      return Malformed("fl.coding: a layer has two lines");
  }
  return codings;
}

// Fewer bits: multipliers, zeros and packed codes.
Result<> ReadCodes(const SafetensorsFile& file, const std::string& name, std::size_t depth,
                   QuantizedNode& to) {
  const std::size_t channels = to.weight_scale.size();
  const std::size_t groups = channels * to.coding.groups(depth);
  FL_TRY(to.multiplier, ReadIntegers<std::uint8_t>(file, name + ".multiplier", DType::kU8, groups));
  if (to.coding.asymmetric) {
    FL_TRY(to.zero, ReadIntegers<std::uint8_t>(file, name + ".zero", DType::kU8, groups));
  }
  FL_TRY(const std::vector<std::uint8_t> codes,
         ReadIntegers<std::uint8_t>(file, name + ".weight", DType::kU8,
                                    channels * to.coding.row_bytes(depth)));
  return UnpackCodes(std::as_bytes(std::span(codes)), depth, to);
}

using Names = std::set<std::string>;

// Layers whose weights are stored as blocks.
Result<Names> ReadSparse(const SafetensorsFile& file) {
  const auto found = file.metadata.find("fl.sparse");
  if (found == file.metadata.end()) return Names();
  const std::vector<std::string> lines = SplitLines(found->second);
  Names names(lines.begin(), lines.end());
  if (names.size() != lines.size()) return Malformed("fl.sparse: a layer is named twice");
  return names;
}

Result<std::vector<std::int8_t>> ReadBlocks(const SafetensorsFile& file, const std::string& name,
                                            std::size_t channels, std::size_t depth) {
  const std::size_t map_bytes =
      SparseBlocks::map_rows(channels) * SparseBlocks::map_row_bytes(depth);
  SparseBlocks blocks;
  FL_TRY(blocks.map, ReadIntegers<std::uint8_t>(file, name + ".blocks", DType::kU8, map_bytes));
  FL_TRY(blocks.values, ReadIntegers<std::int8_t>(file, name + ".weight", DType::kI8,
                                                  4 * CountBlocks(blocks.map)));
  return UnpackBlocks(blocks, channels, depth);
}

// How the layers' weights are stored; what a node has taken is removed.
struct Storage {
  Codings codings;
  Names sparse;
};

// The tensors of a node; their number is added to `tensors`.
Result<> ReadNode(const SafetensorsFile& file, const Graph& graph, const Node& node,
                  Storage& storage, QuantizedNode& to, std::size_t& tensors) {
  const Shape& weight = graph.parameters[node.parameters[0]].shape;
  const std::size_t channels = weight[weight.rank() - 1];
  if (node.kind == OpKind::kLayerNorm) {
    FL_TRY(to.gamma, ReadIntegers<float>(file, node.name + ".gamma", DType::kF32, channels));
    FL_TRY(to.beta, ReadIntegers<float>(file, node.name + ".beta", DType::kF32, channels));
    tensors += 2;
    return {};
  }
  FL_TRY(to.weight_scale, ReadIntegers<float>(file, node.name + ".scale", DType::kF32, channels));
  FL_TRY(to.bias, ReadIntegers<std::int32_t>(file, node.name + ".bias", DType::kI32, channels));
  const auto coding = storage.codings.find(node.name);
  if (coding == storage.codings.end()) {
    if (storage.sparse.erase(node.name) > 0) {
      FL_TRY(to.weight, ReadBlocks(file, node.name, channels, weight.count() / channels));
      tensors += 4;
      return {};
    }
    FL_TRY(to.weight,
           ReadIntegers<std::int8_t>(file, node.name + ".weight", DType::kI8, weight.count()));
    tensors += 3;
    return {};
  }
  to.coding = coding->second;
  storage.codings.erase(coding);
  tensors += to.coding.asymmetric ? 5 : 4;
  return ReadCodes(file, node.name, weight.count() / channels, to);
}

Result<QuantizedModel> ReadQuantized(const SafetensorsFile& file, const Graph& graph) {
  FL_TRY_OK(ExpectPlain(graph, "model file: int8"));
  QuantizedModel model{graph, {}, std::vector<QuantizedNode>(graph.nodes.size())};
  const std::size_t count = graph.nodes.size();
  FL_TRY(const std::vector<float> scales,
         ReadIntegers<float>(file, "activation.scale", DType::kF32, count));
  FL_TRY(const std::vector<std::int32_t> zeros,
         ReadIntegers<std::int32_t>(file, "activation.zero_point", DType::kI32, count));
  Storage storage;
  FL_TRY(storage.codings, ReadCodings(file));
  FL_TRY(storage.sparse, ReadSparse(file));
  std::size_t tensors = 2;
  for (std::size_t i = 0; i < count; ++i) {
    model.activations.push_back({scales[i], zeros[i]});
    const Node& node = graph.nodes[i];
    if (node.parameters.empty()) continue;
    FL_TRY_OK(ReadNode(file, graph, node, storage, model.nodes[i], tensors));
  }
  if (!storage.codings.empty()) {
    return Malformed("fl.coding: expected layers with a weight, found \"" +
                     storage.codings.begin()->first.substr(0, 64) + "\"");
  }
  if (!storage.sparse.empty()) {
    return Malformed("fl.sparse: expected layers with a weight of 8 bits, found \"" +
                     storage.sparse.begin()->substr(0, 64) + "\"");
  }
  if (file.tensors.size() != tensors) {
    return Malformed("expected " + std::to_string(tensors) + " tensors, found " +
                     std::to_string(file.tensors.size()));
  }
  FL_TRY_OK(model.Validate());
  return model;
}

Result<FloatModel> ReadFloat(const SafetensorsFile& file, const Graph& graph,
                             FloatStorage storage) {
  if (file.tensors.size() != graph.parameters.size()) {
    return Malformed("expected " + std::to_string(graph.parameters.size()) + " tensors, found " +
                     std::to_string(file.tensors.size()));
  }
  for (const StoredTensor& tensor : file.tensors) {
    if (storage == FloatStorage::kFp32 || tensor.dtype == TypeOf(storage)) continue;
    return Malformed("tensor " + tensor.name + ": expected values of " +
                     std::string(DTypeName(TypeOf(storage))));
  }
  FL_TRY(NamedTensors tensors, ExtractTensors(file, graph.parameters));
  if (!AllFinite(tensors.values)) {
    return Error{ErrorCode::kNotFinite, "model file: a parameter is not finite"};
  }
  return FloatModel{graph, std::move(tensors.values), storage};
}

Result<FloatStorage> ParsePrecision(std::string_view text) {
  for (const FloatStorage storage :
       {FloatStorage::kFp32, FloatStorage::kFp16, FloatStorage::kBf16}) {
    if (text == PrecisionName(storage)) return storage;
  }
  return Error{ErrorCode::kUnsupported,
               "model file: fl.precision: expected fp32, fp16, bf16 or int8, found \"" +
                   std::string(text.substr(0, 64)) + "\""};
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

// The tensors of a product or a layer norm. True where the weight is stored as blocks: where that
// takes fewer bytes.
bool AppendNode(const Graph& graph, const Node& node, const QuantizedNode& from,
                SafetensorsFile& file) {
  const auto append = [&](const char* suffix, DType dtype, Shape shape, ByteSpan values) {
    file.tensors.push_back(StoreValues(node.name + suffix, dtype, std::move(shape), values));
  };
  const Shape& weight = graph.parameters[node.parameters[0]].shape;
  const std::size_t channels = weight[weight.rank() - 1];
  if (node.kind == OpKind::kLayerNorm) {
    append(".gamma", DType::kF32, Shape{channels}, std::as_bytes(std::span(from.gamma)));
    append(".beta", DType::kF32, Shape{channels}, std::as_bytes(std::span(from.beta)));
    return false;
  }
  bool sparse = false;
  if (from.coding.bits == 8) {
    const std::size_t depth = weight.count() / channels;
    const SparseBlocks blocks = PackBlocks(from.weight, depth);
    sparse = !blocks.values.empty() && blocks.bytes() < from.weight.size();
    if (sparse) {
      const Shape map{SparseBlocks::map_rows(channels), SparseBlocks::map_row_bytes(depth)};
      append(".blocks", DType::kU8, map, std::as_bytes(std::span(blocks.map)));
      append(".weight", DType::kI8, Shape{blocks.values.size() / 4, 4},
             std::as_bytes(std::span(blocks.values)));
    } else {
      append(".weight", DType::kI8, StoredWeightShape(weight),
             std::as_bytes(std::span(from.weight)));
    }
  } else {
    const std::size_t depth = weight.count() / channels;
    const Shape groups{channels, from.coding.groups(depth)};
    append(".weight", DType::kU8, Shape{channels, from.coding.row_bytes(depth)},
           PackCodes(from, depth));
    append(".multiplier", DType::kU8, groups, std::as_bytes(std::span(from.multiplier)));
    if (from.coding.asymmetric)
      append(".zero", DType::kU8, groups, std::as_bytes(std::span(from.zero)));
  }
  append(".scale", DType::kF32, Shape{channels}, std::as_bytes(std::span(from.weight_scale)));
  append(".bias", DType::kI32, Shape{channels}, std::as_bytes(std::span(from.bias)));
  return sparse;
}

void AppendQuantized(const QuantizedModel& model, SafetensorsFile& file) {
  std::vector<float> scales;
  std::vector<std::int32_t> zeros;
  std::vector<std::string> codings;
  std::vector<std::string> sparse;
  for (std::size_t i = 0; i < model.graph.nodes.size(); ++i) {
    scales.push_back(model.activations[i].scale);
    zeros.push_back(model.activations[i].zero_point);
    const Node& node = model.graph.nodes[i];
    if (node.parameters.empty()) continue;
    if (AppendNode(model.graph, node, model.nodes[i], file)) sparse.push_back(node.name);
    if (model.nodes[i].coding.bits < 8)
      codings.push_back(CodingLine(node.name, model.nodes[i].coding));
  }
  if (!codings.empty()) file.metadata["fl.coding"] = JoinLines(codings);
  if (!sparse.empty()) file.metadata["fl.sparse"] = JoinLines(sparse);
  const Shape nodes{scales.size()};
  file.tensors.push_back(
      StoreValues("activation.scale", DType::kF32, nodes, std::as_bytes(std::span(scales))));
  file.tensors.push_back(
      StoreValues("activation.zero_point", DType::kI32, nodes, std::as_bytes(std::span(zeros))));
}

std::uint16_t StoredBits(float value, FloatStorage storage) {
  if (storage == FloatStorage::kFp16) return FloatToHalf(std::clamp(value, -65504.0F, 65504.0F));
  constexpr float kLargest = 3.38953139e38F;
  return FloatToBfloat16(std::clamp(value, -kLargest, kLargest));
}

void AppendFloats(const FloatModel& model, SafetensorsFile& file) {
  if (model.storage == FloatStorage::kFp32) {
    NamedTensors tensors;
    tensors.layout = model.graph.parameters;
    tensors.values = model.parameters;
    return AppendTensors(tensors, file);
  }
  const TensorLayout& layout = model.graph.parameters;
  for (std::size_t i = 0; i < layout.size(); ++i) {
    std::vector<std::uint16_t> bits;
    for (const float value :
         std::span(model.parameters).subspan(layout.offset(i), layout[i].shape.count())) {
      bits.push_back(StoredBits(value, model.storage));
    }
    file.tensors.push_back(StoreValues(layout[i].name, TypeOf(model.storage), layout[i].shape,
                                       std::as_bytes(std::span(bits))));
  }
}

SafetensorsLimits TensorLimits(const ModelFileLimits& limits) {
  SafetensorsLimits outer;
  outer.data_bytes_max = limits.bytes_max;
  return outer;
}

Result<ModelFile> ReadModel(const SafetensorsFile& file, const ModelFileLimits& limits) {
  FL_TRY(const Graph graph, ReadGraph(file, limits.graph));
  FL_TRY(const std::string precision, Require(file, "fl.precision"));
  ModelFile result;
  if (precision == "int8") {
    FL_TRY(result.model, ReadQuantized(file, graph));
  } else {
    FL_TRY(const FloatStorage storage, ParsePrecision(precision));
    FL_TRY(result.model, ReadFloat(file, graph, storage));
  }
  FL_TRY_OK(ReadDescription(file, result));
  return result;
}

}  // namespace

float StoredValue(float value, FloatStorage storage) {
  if (storage == FloatStorage::kFp32) return value;
  const std::uint16_t bits = StoredBits(value, storage);
  return storage == FloatStorage::kFp16 ? HalfToFloat(bits) : Bfloat16ToFloat(bits);
}

const Graph& ModelFile::graph() const {
  return std::visit([](const auto& held) -> const Graph& { return held.graph; }, model);
}

Result<ModelFile> ParseModelFile(ByteSpan bytes, const ModelFileLimits& limits) {
  FL_TRY(const SafetensorsFile file, ParseSafetensors(bytes, TensorLimits(limits)));
  return ReadModel(file, limits);
}

Result<ModelFile> ParseModelFile(Bytes&& bytes, const ModelFileLimits& limits) {
  Bytes owned = std::move(bytes);
  FL_TRY(const SafetensorsFile file, ParseSafetensors(owned, TensorLimits(limits)));
  owned = Bytes();
  return ReadModel(file, limits);
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
    const FloatModel& floats = std::get<FloatModel>(file.model);
    stored.metadata["fl.precision"] = PrecisionName(floats.storage);
    AppendFloats(floats, stored);
  }
  return SerializeSafetensors(stored);
}

}  // namespace fl::nn
