#include "fl/common/tensor/safetensors.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <set>

#include <nlohmann/json.hpp>

#include "fl/common/tensor/half.h"
#include "fl/common/tensor/internal/safetensors_header.h"

namespace fl {
namespace {

constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kAlignment = 64;

struct DTypeEntry {
  std::string_view name;
  std::size_t bytes;
};
constexpr std::array<DTypeEntry, 8> kDTypes = {{{"F32", 4},
                                                {"F16", 2},
                                                {"BF16", 2},
                                                {"I8", 1},
                                                {"U8", 1},
                                                {"I16", 2},
                                                {"I32", 4},
                                                {"I64", 8}}};

Result<DType> ParseDType(const internal::TensorEntry& entry) {
  const auto found = std::ranges::find(kDTypes, entry.dtype, &DTypeEntry::name);
  if (found == kDTypes.end()) {
    return Error{ErrorCode::kUnsupported, "tensor '" + entry.name + "': element type '" +
                                              entry.dtype + "' is not supported"};
  }
  return static_cast<DType>(found - kDTypes.begin());
}

// Bytes of the tensor by its shape and type; kMalformed where they cannot lie in `available` bytes.
Result<std::uint64_t> DeclaredBytes(const internal::TensorEntry& entry, DType dtype,
                                    std::uint64_t available) {
  std::uint64_t bytes = DTypeBytes(dtype);
  for (const std::uint64_t extent : entry.shape) {
    if (extent == 0)
      return Error{ErrorCode::kUnsupported,
                   "tensor '" + entry.name + "': expected extents of at least 1, found 0"};
    if (extent > available / bytes) {
      return Error{ErrorCode::kMalformed,
                   "tensor '" + entry.name + "': its shape is larger than the file's data"};
    }
    bytes *= extent;
  }
  return bytes;
}

Result<StoredTensor> ReadTensor(const internal::TensorEntry& entry, ByteSpan data,
                                std::uint64_t expected_begin) {
  FL_TRY(const DType dtype, ParseDType(entry));
  FL_TRY(const std::uint64_t bytes, DeclaredBytes(entry, dtype, data.size()));
  if (entry.begin != expected_begin) {
    return Error{ErrorCode::kMalformed, "tensor '" + entry.name + "': expected its data at " +
                                            std::to_string(expected_begin) +
                                            " (without gap or overlap), found " +
                                            std::to_string(entry.begin)};
  }
  if (entry.end < entry.begin || entry.end - entry.begin != bytes || entry.end > data.size()) {
    return Error{
        ErrorCode::kMalformed,
        "tensor '" + entry.name + "': its offsets do not match its shape or the file's size"};
  }
  const ByteSpan content =
      data.subspan(static_cast<std::size_t>(entry.begin), static_cast<std::size_t>(bytes));
  return StoredTensor{
      .name = entry.name,
      .dtype = dtype,
      .shape = Shape(std::vector<std::size_t>(entry.shape.begin(), entry.shape.end())),
      .data = Bytes(content.begin(), content.end())};
}

// The header's text: one line of JSON, quoted by the JSON library.
std::string Quote(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string MetadataText(const std::map<std::string, std::string>& metadata) {
  std::string text;
  for (const auto& [key, value] : metadata) {
    if (!text.empty()) text += ',';
    text += Quote(key) + ':' + Quote(value);
  }
  return "\"__metadata__\":{" + text + '}';
}

std::string TensorText(const StoredTensor& tensor, std::uint64_t begin) {
  std::string shape;
  for (const std::size_t extent : tensor.shape.extents()) {
    if (!shape.empty()) shape += ',';
    shape += std::to_string(extent);
  }
  return Quote(tensor.name) + ":{\"dtype\":\"" + std::string(DTypeName(tensor.dtype)) +
         "\",\"shape\":[" + shape + "],\"data_offsets\":[" + std::to_string(begin) + ',' +
         std::to_string(begin + tensor.data.size()) + "]}";
}

std::string HeaderText(const SafetensorsFile& file) {
  std::string text = "{";
  if (!file.metadata.empty()) text += MetadataText(file.metadata);
  std::uint64_t begin = 0;
  for (const StoredTensor& tensor : file.tensors) {
    if (text.size() > 1) text += ',';
    text += TensorText(tensor, begin);
    begin += tensor.data.size();
  }
  text += '}';
  text.append((kAlignment - (kLengthBytes + text.size()) % kAlignment) % kAlignment, ' ');
  return text;
}

void CheckWritable(const SafetensorsFile& file) {
  std::set<std::string_view> names = {internal::kMetadataName};
  for (const StoredTensor& tensor : file.tensors) {
    FL_CHECK(names.insert(tensor.name).second, "tensor names of a file are unique");
    FL_CHECK(tensor.data.size() == tensor.shape.count() * DTypeBytes(tensor.dtype),
             "a stored tensor's bytes match its shape");
    FL_CHECK(tensor.shape.count() > 0 && tensor.shape.rank() <= internal::kRankMax,
             "a shape has up to 8 extents, each at least 1");
  }
}

Error NotFinite(std::string_view name, std::size_t index) {
  return {ErrorCode::kNotFinite, "tensor '" + std::string(name) + "': element " +
                                     std::to_string(index) + " is not finite"};
}

}  // namespace

std::size_t DTypeBytes(DType dtype) {
  return kDTypes[static_cast<std::size_t>(dtype)].bytes;
}

std::string_view DTypeName(DType dtype) {
  return kDTypes[static_cast<std::size_t>(dtype)].name;
}

const StoredTensor* SafetensorsFile::Find(std::string_view name) const {
  const auto found = std::ranges::find(tensors, name, &StoredTensor::name);
  return found == tensors.end() ? nullptr : &*found;
}

Result<SafetensorsFile> ParseSafetensors(ByteSpan bytes, const SafetensorsLimits& limits) {
  ByteReader reader(bytes);
  FL_TRY(const std::uint64_t header_bytes, reader.Read<std::uint64_t>());
  if (header_bytes > limits.header_bytes_max) {
    return Error{ErrorCode::kLimitExceeded, "safetensors header: expected at most " +
                                                std::to_string(limits.header_bytes_max) +
                                                " bytes, found " + std::to_string(header_bytes)};
  }
  FL_TRY(const ByteSpan header_span, reader.ReadSpan(static_cast<std::size_t>(header_bytes)));
  FL_TRY(const ByteSpan data, reader.ReadSpan(reader.remaining()));
  if (data.size() > limits.data_bytes_max) {
    return Error{ErrorCode::kLimitExceeded, "safetensors data: expected at most " +
                                                std::to_string(limits.data_bytes_max) +
                                                " bytes, found " + std::to_string(data.size())};
  }
  FL_TRY(internal::SafetensorsHeader header,
         internal::ParseSafetensorsHeader(AsText(header_span), limits.tensors_max));
  std::ranges::sort(header.tensors, {}, &internal::TensorEntry::begin);
  SafetensorsFile file;
  file.metadata = std::move(header.metadata);
  std::uint64_t end = 0;
  for (const internal::TensorEntry& entry : header.tensors) {
    FL_TRY(StoredTensor tensor, ReadTensor(entry, data, end));
    end = entry.end;
    file.tensors.push_back(std::move(tensor));
  }
  if (end != data.size()) {
    return Error{ErrorCode::kMalformed, "safetensors data: expected " + std::to_string(end) +
                                            " bytes by the header, found " +
                                            std::to_string(data.size())};
  }
  return file;
}

// file   = u64 header_bytes, header, data          all little-endian
// header = JSON object, then spaces up to a multiple of 64 bytes from the file's start
//          {"__metadata__": {string: string, ...}, name: {"dtype": type, "shape": [extent, ...],
//          "data_offsets": [begin, end]}, ...}
// data   = the tensors' bytes, one after the other; offsets count from its start
Bytes SerializeSafetensors(const SafetensorsFile& file) {
  CheckWritable(file);
  const std::string header = HeaderText(file);
  ByteWriter writer;
  writer.Write<std::uint64_t>(header.size());
  writer.WriteSpan(AsBytes(header));
  for (const StoredTensor& tensor : file.tensors) writer.WriteSpan(tensor.data);
  return std::move(writer).Take();
}

StoredTensor StoreFloats(std::string name, Shape shape, std::span<const float> values) {
  FL_CHECK(shape.count() == values.size(), "as many values as the shape has");
  const ByteSpan bytes = std::as_bytes(values);
  return {.name = std::move(name),
          .dtype = DType::kF32,
          .shape = std::move(shape),
          .data = Bytes(bytes.begin(), bytes.end())};
}

Result<std::vector<float>> LoadFloats(const StoredTensor& tensor) {
  const std::size_t count = tensor.shape.count();
  if (tensor.dtype != DType::kF32 && tensor.dtype != DType::kF16 && tensor.dtype != DType::kBF16) {
    return Error{ErrorCode::kUnsupported, "tensor '" + tensor.name +
                                              "': expected F32, F16 or BF16, found " +
                                              std::string(DTypeName(tensor.dtype))};
  }
  FL_CHECK(tensor.data.size() == count * DTypeBytes(tensor.dtype),
           "a stored tensor's bytes match its shape");
  std::vector<float> values(count);
  if (tensor.dtype == DType::kF32) {
    std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
  } else {
    const auto convert = tensor.dtype == DType::kF16 ? HalfToFloat : Bfloat16ToFloat;
    for (std::size_t i = 0; i < count; ++i) {
      std::uint16_t bits = 0;
      std::memcpy(&bits, tensor.data.data() + i * sizeof(bits), sizeof(bits));
      values[i] = convert(bits);
    }
  }
  const auto bad = std::ranges::find_if(values, [](float value) { return !std::isfinite(value); });
  if (bad != values.end())
    return NotFinite(tensor.name, static_cast<std::size_t>(bad - values.begin()));
  return values;
}

void AppendTensors(const NamedTensors& tensors, SafetensorsFile& file) {
  for (std::size_t i = 0; i < tensors.layout.size(); ++i) {
    const TensorSpec& spec = tensors.layout[i];
    file.tensors.push_back(StoreFloats(spec.name, spec.shape, tensors.tensor(i)));
  }
}

Result<NamedTensors> ExtractTensors(const SafetensorsFile& file, const TensorLayout& layout) {
  NamedTensors result;
  result.layout = layout;
  for (const TensorSpec& spec : layout.specs()) {
    const StoredTensor* tensor = file.Find(spec.name);
    if (tensor == nullptr || tensor->shape != spec.shape) {
      return Error{
          ErrorCode::kShapeMismatch,
          "tensor '" + spec.name + "': expected " + spec.shape.ToText() + ", found " +
              (tensor == nullptr ? std::string("none of this name") : tensor->shape.ToText())};
    }
    FL_TRY(const std::vector<float> values, LoadFloats(*tensor));
    result.values.insert(result.values.end(), values.begin(), values.end());
  }
  return result;
}

}  // namespace fl
