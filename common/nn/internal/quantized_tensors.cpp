#include "fl/common/nn/internal/quantized_tensors.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "fl/common/nn/plain_graph.h"
#include "fl/common/nn/sparse_blocks.h"

namespace fl::nn::internal {
namespace {

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

// Output channel first.
Shape StoredWeightShape(const Shape& weight) {
  std::vector<std::size_t> extents = {weight[weight.rank() - 1]};
  extents.insert(extents.end(), weight.extents().begin(), weight.extents().end() - 1);
  return Shape(std::move(extents));
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
  const Error malformed = MalformedFile(
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
      return MalformedFile("fl.coding: a layer has two lines");
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
  if (names.size() != lines.size()) return MalformedFile("fl.sparse: a layer is named twice");
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

// Reads the nodes' tensors and counts them.
class NodeReader {
 public:
  NodeReader(const SafetensorsFile& file, const Graph& graph, bool dynamic, Storage storage)
      : file_(file), graph_(graph), dynamic_(dynamic), storage_(std::move(storage)) {}

  Result<> Read(const Node& node, QuantizedNode& to) {
    const Shape& weight = graph_.parameters[node.parameters[0]].shape;
    const std::size_t channels = weight[weight.rank() - 1];
    if (node.kind == OpKind::kLayerNorm) {
      FL_TRY(to.gamma, Floats(node.name + ".gamma", channels));
      FL_TRY(to.beta, Floats(node.name + ".beta", channels));
      return {};
    }
    FL_TRY(to.weight_scale, Floats(node.name + ".scale", channels));
    if (dynamic_) {
      FL_TRY(to.float_bias, Floats(node.name + ".bias", channels));
    } else {
      FL_TRY(to.bias,
             ReadIntegers<std::int32_t>(file_, node.name + ".bias", DType::kI32, channels));
      ++tensors_;
    }
    const auto coding = storage_.codings.find(node.name);
    if (coding == storage_.codings.end()) {
      if (storage_.sparse.erase(node.name) > 0) {
        FL_TRY(to.weight, ReadBlocks(file_, node.name, channels, weight.count() / channels));
        tensors_ += 2;
        return {};
      }
      FL_TRY(to.weight,
             ReadIntegers<std::int8_t>(file_, node.name + ".weight", DType::kI8, weight.count()));
      ++tensors_;
      return {};
    }
    to.coding = coding->second;
    storage_.codings.erase(coding);
    tensors_ += to.coding.asymmetric ? 3 : 2;
    return ReadCodes(file_, node.name, weight.count() / channels, to);
  }

  // A scale and a zero point for each node.
  Result<> ReadActivations(std::vector<ActivationScale>& to) {
    const std::size_t count = graph_.nodes.size();
    FL_TRY(const std::vector<float> scales, Floats("activation.scale", count));
    FL_TRY(const std::vector<std::int32_t> zeros,
           ReadIntegers<std::int32_t>(file_, "activation.zero_point", DType::kI32, count));
    ++tensors_;
    for (std::size_t i = 0; i < count; ++i) to.push_back({scales[i], zeros[i]});
    return {};
  }

  // Whether everything in the file was read.
  Result<> Finish() const {
    if (!storage_.codings.empty()) {
      return MalformedFile("fl.coding: expected layers with a weight, found \"" +
                           storage_.codings.begin()->first.substr(0, 64) + "\"");
    }
    if (!storage_.sparse.empty()) {
      return MalformedFile("fl.sparse: expected layers with a weight of 8 bits, found \"" +
                           storage_.sparse.begin()->substr(0, 64) + "\"");
    }
    if (file_.tensors.size() == tensors_) return {};
    return MalformedFile("expected " + std::to_string(tensors_) + " tensors, found " +
                         std::to_string(file_.tensors.size()));
  }

 private:
  Result<std::vector<float>> Floats(const std::string& name, std::size_t count) {
    ++tensors_;
    return ReadIntegers<float>(file_, name, DType::kF32, count);
  }

  const SafetensorsFile& file_;
  const Graph& graph_;
  bool dynamic_;
  Storage storage_;
  std::size_t tensors_ = 0;
};

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
  if (!from.float_bias.empty()) {
    append(".bias", DType::kF32, Shape{channels}, std::as_bytes(std::span(from.float_bias)));
  } else {
    append(".bias", DType::kI32, Shape{channels}, std::as_bytes(std::span(from.bias)));
  }
  return sparse;
}

}  // namespace

Error MalformedFile(std::string message) {
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

StoredTensor StoreValues(std::string name, DType dtype, Shape shape, ByteSpan values) {
  return {std::move(name), dtype, std::move(shape), Bytes(values.begin(), values.end())};
}

Result<QuantizedModel> ReadQuantized(const SafetensorsFile& file, const Graph& graph,
                                     bool dynamic) {
  FL_TRY_OK(ExpectPlain(graph, "model file: int8"));
  QuantizedModel model{graph, {}, std::vector<QuantizedNode>(graph.nodes.size())};
  Storage storage;
  FL_TRY(storage.codings, ReadCodings(file));
  FL_TRY(storage.sparse, ReadSparse(file));
  NodeReader reader(file, graph, dynamic, std::move(storage));
  if (!dynamic) FL_TRY_OK(reader.ReadActivations(model.activations));
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    if (graph.nodes[i].parameters.empty()) continue;
    FL_TRY_OK(reader.Read(graph.nodes[i], model.nodes[i]));
  }
  FL_TRY_OK(reader.Finish());
  FL_TRY_OK(model.Validate());
  return model;
}

void AppendQuantized(const QuantizedModel& model, SafetensorsFile& file) {
  std::vector<std::string> codings;
  std::vector<std::string> sparse;
  for (std::size_t i = 0; i < model.graph.nodes.size(); ++i) {
    const Node& node = model.graph.nodes[i];
    if (node.parameters.empty()) continue;
    if (AppendNode(model.graph, node, model.nodes[i], file)) sparse.push_back(node.name);
    if (model.nodes[i].coding.bits < 8)
      codings.push_back(CodingLine(node.name, model.nodes[i].coding));
  }
  if (!codings.empty()) file.metadata["fl.coding"] = JoinLines(codings);
  if (!sparse.empty()) file.metadata["fl.sparse"] = JoinLines(sparse);
  if (model.dynamic()) return;
  std::vector<float> scales;
  std::vector<std::int32_t> zeros;
  for (const ActivationScale& scale : model.activations) {
    scales.push_back(scale.scale);
    zeros.push_back(scale.zero_point);
  }
  const Shape nodes{scales.size()};
  file.tensors.push_back(
      StoreValues("activation.scale", DType::kF32, nodes, std::as_bytes(std::span(scales))));
  file.tensors.push_back(
      StoreValues("activation.zero_point", DType::kI32, nodes, std::as_bytes(std::span(zeros))));
}

}  // namespace fl::nn::internal
