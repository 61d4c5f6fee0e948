#include "fl/common/nn/model_file.h"

#include <algorithm>
#include <charconv>

#include "fl/common/nn/internal/quantized_tensors.h"
#include "fl/common/nn/plain_graph.h"
#include "fl/common/tensor/half.h"
#include "fl/common/tensor/safetensors.h"

namespace fl::nn {

using internal::AppendQuantized;
using internal::JoinLines;
using internal::MalformedFile;
using internal::ReadQuantized;
using internal::SplitLines;
using internal::StoreValues;

namespace {

constexpr std::string_view kDynamicName = "int8-dynamic";
constexpr std::string_view kNotePrefix = "fl.note.";

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
  return MalformedFile("fl.input: expected a shape such as 28x28x1, found \"" +
                       std::string(text.substr(0, 64)) + "\"");
}

Result<std::string> Require(const SafetensorsFile& file, const std::string& key) {
  const auto found = file.metadata.find(key);
  if (found == file.metadata.end())
    return MalformedFile("expected the metadata " + key + ", found none");
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

DType TypeOf(FloatStorage storage) {
  if (storage == FloatStorage::kFp16) return DType::kF16;
  return storage == FloatStorage::kBf16 ? DType::kBF16 : DType::kF32;
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

Result<FloatModel> ReadFloat(const SafetensorsFile& file, const Graph& graph,
                             FloatStorage storage) {
  if (file.tensors.size() != graph.parameters.size()) {
    return MalformedFile("expected " + std::to_string(graph.parameters.size()) +
                         " tensors, found " + std::to_string(file.tensors.size()));
  }
  for (const StoredTensor& tensor : file.tensors) {
    if (storage == FloatStorage::kFp32 || tensor.dtype == TypeOf(storage)) continue;
    return MalformedFile("tensor " + tensor.name + ": expected values of " +
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
  return Error{
      ErrorCode::kUnsupported,
      "model file: fl.precision: expected fp32, fp16, bf16, int8 or int8-dynamic, found \"" +
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
  return MalformedFile("fl.labels: expected " + std::to_string(outputs) + " lines, found " +
                       std::to_string(to.labels.size()));
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
  if (precision == "int8" || precision == kDynamicName) {
    FL_TRY(result.model, ReadQuantized(file, graph, precision == kDynamicName));
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
    stored.metadata["fl.precision"] = quantized->dynamic() ? kDynamicName : "int8";
    AppendQuantized(*quantized, stored);
  } else {
    const FloatModel& floats = std::get<FloatModel>(file.model);
    stored.metadata["fl.precision"] = PrecisionName(floats.storage);
    AppendFloats(floats, stored);
  }
  return SerializeSafetensors(stored);
}

}  // namespace fl::nn
