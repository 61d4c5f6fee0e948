#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fl/common/base/bytes.h"

namespace fl::onnx {

// Element types of ONNX (TensorProto.DataType) that we read or write.
enum class DataType : std::int32_t {
  kUndefined = 0,
  kFloat = 1,
  kUint8 = 2,
  kInt8 = 3,
  kInt32 = 6,
  kInt64 = 7,
  kFloat16 = 10,
  kDouble = 11,
  kBfloat16 = 16,
};
std::string_view DataTypeName(DataType type);  // "float", "int8", ...
std::size_t DataTypeBytes(DataType type);      // 0 for kUndefined.

// A constant: little-endian, row-major. As many bytes as the extents and the type say.
struct Tensor {
  std::string name;
  DataType type = DataType::kFloat;
  std::vector<std::int64_t> extents;  // None for a scalar; each >= 0.
  Bytes data;

  std::size_t count() const { return data.size() / DataTypeBytes(type); }
  friend bool operator==(const Tensor&, const Tensor&) = default;
};

// One setting of an operator; which member holds it is the operator's to know.
struct Attribute {
  std::string name;
  std::optional<float> number;
  std::optional<std::int64_t> integer;
  std::optional<std::string> text;
  std::optional<Tensor> tensor;
  std::vector<float> numbers;
  std::vector<std::int64_t> integers;
  friend bool operator==(const Attribute&, const Attribute&) = default;
};

struct Operator {
  std::string name;  // May be empty.
  std::string type;  // "Conv", "Gemm", ...
  std::string domain;
  std::vector<std::string> inputs;  // Names of values; empty where an optional one is left out.
  std::vector<std::string> outputs;
  std::vector<Attribute> attributes;

  const Attribute* Find(std::string_view attribute) const;
  friend bool operator==(const Operator&, const Operator&) = default;
};

// An extent of an input or output: a number, or a name for any ("N").
struct Extent {
  std::optional<std::int64_t> value;
  std::string name;
  friend bool operator==(const Extent&, const Extent&) = default;
};

struct ValueInfo {
  std::string name;
  DataType type = DataType::kFloat;
  std::vector<Extent> extents;
  friend bool operator==(const ValueInfo&, const ValueInfo&) = default;
};

// The parts of an ONNX file (ModelProto, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto)
// that a network of our operators has.
struct OnnxModel {
  std::int64_t ir_version = 8;
  std::int64_t opset = 13;  // Of the domain "".
  std::string producer;
  std::map<std::string, std::string> metadata;
  std::string name;  // Of the graph.
  std::vector<Operator> operators;
  std::vector<Tensor> constants;
  std::vector<ValueInfo> inputs;
  std::vector<ValueInfo> outputs;
  friend bool operator==(const OnnxModel&, const OnnxModel&) = default;
};

struct OnnxLimits {
  std::uint64_t bytes_max = std::uint64_t{1} << 31;  // Protobuf's own limit.
  std::size_t operators_max = 8192;
  std::size_t constants_max = 16384;
  std::size_t attributes_max = 32;  // Of one operator.
  std::size_t list_max = 4096;      // Inputs, outputs; metadata.
  std::size_t rank_max = 8;
};

// Reads a file that may be hostile. Messages of a fixed depth only; nothing is sized by a declared
// extent before the bytes are there. kMalformed (protobuf's grammar, a constant whose bytes do not
// match its extents), kLimitExceeded, kUnsupported: data outside the file, subgraphs, functions,
// sparse constants, other element types. Fields that we do not know are skipped, as protobuf has
// it.
Result<OnnxModel> ParseOnnx(ByteSpan bytes, const OnnxLimits& limits = {});

// The file's bytes: deterministic.
Bytes SerializeOnnx(const OnnxModel& model);

}  // namespace fl::onnx
