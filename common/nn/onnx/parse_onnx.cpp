#include <algorithm>
#include <bit>

#include "fl/common/nn/onnx/internal/proto_wire.h"
#include "fl/common/nn/onnx/onnx_model.h"

namespace fl::onnx {
namespace {

using internal::ProtoField;
using internal::ProtoReader;
using internal::WireType;

constexpr std::uint64_t kDataTypeMax = 255;

Error Malformed(std::string message) {
  return {ErrorCode::kMalformed, "ONNX: " + std::move(message)};
}

Error Unsupported(std::string message) {
  return {ErrorCode::kUnsupported, "ONNX: " + std::move(message)};
}

Result<> ExpectRoom(std::size_t count, std::size_t most, std::string_view what) {
  if (count < most) return {};
  return Error{ErrorCode::kLimitExceeded, "ONNX: expected at most " + std::to_string(most) + " " +
                                              std::string(what) + ", found more"};
}

Result<DataType> ReadDataType(std::uint64_t value) {
  if (value <= kDataTypeMax) {
    const auto type = static_cast<DataType>(value);
    if (DataTypeBytes(type) > 0) return type;
  }
  return Unsupported(
      "expected elements of float, double, float16, bfloat16, int8, uint8, int32 or "
      "int64, found type " +
      std::to_string(value));
}

Result<std::string> ReadText(const ProtoField& field) {
  FL_TRY_OK(field.Expect(WireType::kLength));
  return std::string(AsText(field.bytes));
}

// One field of a repeated number: alone, or many packed.
template <typename Read, typename Append>
Result<> ReadList(const ProtoField& field, WireType alone, const Read& read, const Append& append) {
  if (field.type == alone) return append(field.value);
  FL_TRY_OK(field.Expect(WireType::kLength));
  ProtoReader packed(field.bytes);
  while (!packed.done()) {
    FL_TRY(const auto value, read(packed));
    FL_TRY_OK(append(static_cast<std::uint64_t>(value)));
  }
  return {};
}

Result<> ReadVarints(const ProtoField& field, std::vector<std::int64_t>& to, std::size_t most) {
  return ReadList(
      field, WireType::kVarint, [](ProtoReader& packed) { return packed.NextVarint(); },
      [&](std::uint64_t value) -> Result<> {
        FL_TRY_OK(ExpectRoom(to.size(), most, "values in a list"));
        to.push_back(static_cast<std::int64_t>(value));
        return {};
      });
}

// The low bytes of each number, one after the other.
Result<> AppendNumbers(const ProtoField& field, WireType alone, std::size_t bytes, Bytes& to) {
  const auto append = [&](std::uint64_t value) -> Result<> {
    for (std::size_t i = 0; i < bytes; ++i) to.push_back(static_cast<std::byte>(value >> (8 * i)));
    return {};
  };
  switch (alone) {
    case WireType::kFixed32:
      return ReadList(
          field, alone, [](ProtoReader& packed) { return packed.NextFixed<std::uint32_t>(); },
          append);
    case WireType::kFixed64:
      return ReadList(
          field, alone, [](ProtoReader& packed) { return packed.NextFixed<std::uint64_t>(); },
          append);
    default:
      return ReadList(
          field, alone, [](ProtoReader& packed) { return packed.NextVarint(); }, append);
  }
}

Result<> CheckTensor(const Tensor& tensor, const OnnxLimits& limits) {
  const std::size_t width = DataTypeBytes(tensor.type);
  if (width == 0) return Malformed("tensor \"" + tensor.name + "\": expected an element type");
  FL_TRY_OK(ExpectRoom(tensor.extents.size(), limits.rank_max + 1, "extents of a tensor"));
  const std::uint64_t available = tensor.data.size() / width;
  std::uint64_t count = std::ranges::find(tensor.extents, 0) != tensor.extents.end() ? 0 : 1;
  for (const std::int64_t extent : tensor.extents) {
    if (extent < 0) {
      return Malformed("tensor \"" + tensor.name + "\": expected extents of at least 0, found " +
                       std::to_string(extent));
    }
    if (count > 0 && static_cast<std::uint64_t>(extent) > available / count) {
      return Malformed("tensor \"" + tensor.name + "\": its extents want more than its " +
                       std::to_string(available) + " values");
    }
    count *= static_cast<std::uint64_t>(extent);
  }
  if (tensor.data.size() == count * width) return {};
  return Malformed("tensor \"" + tensor.name + "\": expected " + std::to_string(count) +
                   " values of " + std::string(DataTypeName(tensor.type)) + ", found " +
                   std::to_string(tensor.data.size()) + " bytes");
}

Result<Tensor> ParseTensor(ByteSpan bytes, const OnnxLimits& limits) {
  Tensor tensor;
  tensor.type = DataType::kUndefined;
  for (ProtoReader reader(bytes); !reader.done();) {
    FL_TRY(const ProtoField field, reader.Next());
    if (field.number == 1) {
      FL_TRY_OK(ReadVarints(field, tensor.extents, limits.rank_max));
    } else if (field.number == 2) {
      FL_TRY(tensor.type, ReadDataType(field.value));
    } else if (field.number == 8) {
      FL_TRY(tensor.name, ReadText(field));
    } else if (field.number == 13 || (field.number == 14 && field.value != 0)) {
      return Unsupported("tensor \"" + tensor.name +
                         "\": its data lies outside the file; expected it inside");
    }
  }
  const std::size_t width = DataTypeBytes(tensor.type);
  for (ProtoReader reader(bytes); !reader.done();) {
    FL_TRY(const ProtoField field, reader.Next());
    if (field.number == 9) {
      FL_TRY_OK(field.Expect(WireType::kLength));
      tensor.data.insert(tensor.data.end(), field.bytes.begin(), field.bytes.end());
    } else if (field.number == 4) {
      FL_TRY_OK(AppendNumbers(field, WireType::kFixed32, width, tensor.data));
    } else if (field.number == 5 || field.number == 7) {
      FL_TRY_OK(AppendNumbers(field, WireType::kVarint, width, tensor.data));
    } else if (field.number == 10) {
      FL_TRY_OK(AppendNumbers(field, WireType::kFixed64, width, tensor.data));
    }
  }
  FL_TRY_OK(CheckTensor(tensor, limits));
  return tensor;
}

Result<> ReadFloats(const ProtoField& field, std::vector<float>& to) {
  return ReadList(
      field, WireType::kFixed32,
      [](ProtoReader& packed) { return packed.NextFixed<std::uint32_t>(); },
      [&](std::uint64_t value) -> Result<> {
        to.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(value)));
        return {};
      });
}

Result<Attribute> ParseAttribute(ByteSpan bytes, const OnnxLimits& limits) {
  Attribute attribute;
  for (ProtoReader reader(bytes); !reader.done();) {
    FL_TRY(const ProtoField field, reader.Next());
    switch (field.number) {
      case 1: {
        FL_TRY(attribute.name, ReadText(field));
        break;
      }
      case 2:
        FL_TRY_OK(field.Expect(WireType::kFixed32));
        attribute.number = std::bit_cast<float>(static_cast<std::uint32_t>(field.value));
        break;
      case 3:
        FL_TRY_OK(field.Expect(WireType::kVarint));
        attribute.integer = static_cast<std::int64_t>(field.value);
        break;
      case 4: {
        FL_TRY(attribute.text, ReadText(field));
        break;
      }
      case 5: {
        FL_TRY_OK(field.Expect(WireType::kLength));
        FL_TRY(attribute.tensor, ParseTensor(field.bytes, limits));
        break;
      }
      case 7:
        FL_TRY_OK(ReadFloats(field, attribute.numbers));
        break;
      case 8:
        FL_TRY_OK(ReadVarints(field, attribute.integers, limits.bytes_max));
        break;
      case 6:
      case 11:
        return Unsupported("attribute \"" + attribute.name + "\" holds a graph: control flow");
      default:
        break;
    }
  }
  return attribute;
}

Result<Operator> ParseOperator(ByteSpan bytes, const OnnxLimits& limits) {
  Operator node;
  for (ProtoReader reader(bytes); !reader.done();) {
    FL_TRY(const ProtoField field, reader.Next());
    if (field.number == 1 || field.number == 2) {
      std::vector<std::string>& names = field.number == 1 ? node.inputs : node.outputs;
      FL_TRY_OK(ExpectRoom(names.size(), limits.list_max, "values of an operator"));
      FL_TRY(std::string name, ReadText(field));
      names.push_back(std::move(name));
    } else if (field.number == 3) {
      FL_TRY(node.name, ReadText(field));
    } else if (field.number == 4) {
      FL_TRY(node.type, ReadText(field));
    } else if (field.number == 5) {
      FL_TRY_OK(
          ExpectRoom(node.attributes.size(), limits.attributes_max, "attributes of an operator"));
      FL_TRY_OK(field.Expect(WireType::kLength));
      FL_TRY(Attribute attribute, ParseAttribute(field.bytes, limits));
      node.attributes.push_back(std::move(attribute));
    } else if (field.number == 7) {
      FL_TRY(node.domain, ReadText(field));
    }
  }
  return node;
}

Result<Extent> ParseExtent(ByteSpan bytes) {
  Extent extent;
  for (ProtoReader reader(bytes); !reader.done();) {
    FL_TRY(const ProtoField field, reader.Next());
    if (field.number == 1) {
      FL_TRY_OK(field.Expect(WireType::kVarint));
      extent.value = static_cast<std::int64_t>(field.value);
    } else if (field.number == 2) {
      FL_TRY(extent.name, ReadText(field));
    }
  }
  return extent;
}

// TypeProto.Tensor: the type and its TensorShapeProto.
Result<> ParseTensorType(ByteSpan bytes, const OnnxLimits& limits, ValueInfo& to) {
  for (ProtoReader reader(bytes); !reader.done();) {
    FL_TRY(const ProtoField field, reader.Next());
    if (field.number == 1) {
      FL_TRY(to.type, ReadDataType(field.value));
    } else if (field.number == 2) {
      FL_TRY_OK(field.Expect(WireType::kLength));
      for (ProtoReader extents(field.bytes); !extents.done();) {
        FL_TRY(const ProtoField extent, extents.Next());
        if (extent.number != 1) continue;
        FL_TRY_OK(extent.Expect(WireType::kLength));
        FL_TRY_OK(ExpectRoom(to.extents.size(), limits.rank_max, "extents of an input"));
        FL_TRY(Extent parsed, ParseExtent(extent.bytes));
        to.extents.push_back(std::move(parsed));
      }
    }
  }
  return {};
}

Result<ValueInfo> ParseValueInfo(ByteSpan bytes, const OnnxLimits& limits) {
  ValueInfo info;
  for (ProtoReader reader(bytes); !reader.done();) {
    FL_TRY(const ProtoField field, reader.Next());
    if (field.number == 1) {
      FL_TRY(info.name, ReadText(field));
    } else if (field.number == 2) {
      FL_TRY_OK(field.Expect(WireType::kLength));
      for (ProtoReader types(field.bytes); !types.done();) {
        FL_TRY(const ProtoField type, types.Next());
        if (type.number != 1) return Unsupported("value \"" + info.name + "\": expected a tensor");
        FL_TRY_OK(type.Expect(WireType::kLength));
        FL_TRY_OK(ParseTensorType(type.bytes, limits, info));
      }
    }
  }
  return info;
}

// Parses one element of a list, if there is room for it.
template <typename T, typename Parse>
Result<> Append(const ProtoField& field, std::size_t most, std::string_view what,
                const Parse& parse, std::vector<T>& to) {
  FL_TRY_OK(field.Expect(WireType::kLength));
  FL_TRY_OK(ExpectRoom(to.size(), most, what));
  FL_TRY(T parsed, parse(field.bytes));
  to.push_back(std::move(parsed));
  return {};
}

Result<> ParseGraph(ByteSpan bytes, const OnnxLimits& limits, OnnxModel& to) {
  const auto parse_operator = [&](ByteSpan part) { return ParseOperator(part, limits); };
  const auto parse_tensor = [&](ByteSpan part) { return ParseTensor(part, limits); };
  const auto parse_value = [&](ByteSpan part) { return ParseValueInfo(part, limits); };
  for (ProtoReader reader(bytes); !reader.done();) {
    FL_TRY(const ProtoField field, reader.Next());
    switch (field.number) {
      case 1:
        FL_TRY_OK(Append(field, limits.operators_max, "operators", parse_operator, to.operators));
        break;
      case 2: {
        FL_TRY(to.name, ReadText(field));
        break;
      }
      case 5:
        FL_TRY_OK(Append(field, limits.constants_max, "constants", parse_tensor, to.constants));
        break;
      case 11:
        FL_TRY_OK(Append(field, limits.list_max, "inputs", parse_value, to.inputs));
        break;
      case 12:
        FL_TRY_OK(Append(field, limits.list_max, "outputs", parse_value, to.outputs));
        break;
      case 15:
        return Unsupported("expected dense constants, found a sparse one");
      default:
        break;
    }
  }
  return {};
}

// A key and its value, or a domain and its version.
Result<> ParseMetadata(const ProtoField& entry, const OnnxLimits& limits, OnnxModel& to) {
  FL_TRY_OK(entry.Expect(WireType::kLength));
  FL_TRY_OK(ExpectRoom(to.metadata.size(), limits.list_max, "entries of metadata"));
  std::string key;
  std::string value;
  for (ProtoReader reader(entry.bytes); !reader.done();) {
    FL_TRY(const ProtoField field, reader.Next());
    if (field.number != 1 && field.number != 2) continue;
    FL_TRY((field.number == 1 ? key : value), ReadText(field));
  }
  to.metadata[key] = std::move(value);
  return {};
}

Result<> ParseOpset(const ProtoField& entry, OnnxModel& to) {
  FL_TRY_OK(entry.Expect(WireType::kLength));
  std::string domain;
  std::uint64_t version = 0;
  for (ProtoReader reader(entry.bytes); !reader.done();) {
    FL_TRY(const ProtoField field, reader.Next());
    if (field.number == 1) {
      FL_TRY(domain, ReadText(field));
    } else if (field.number == 2) {
      version = field.value;
    }
  }
  if (domain.empty() || domain == "ai.onnx") to.opset = static_cast<std::int64_t>(version);
  return {};
}

}  // namespace

Result<OnnxModel> ParseOnnx(ByteSpan bytes, const OnnxLimits& limits) {
  if (bytes.size() > limits.bytes_max) {
    return Error{ErrorCode::kLimitExceeded, "ONNX: expected at most " +
                                                std::to_string(limits.bytes_max) +
                                                " bytes, found " + std::to_string(bytes.size())};
  }
  OnnxModel model;
  model.ir_version = 0;
  model.opset = 0;
  bool graph = false;
  for (ProtoReader reader(bytes); !reader.done();) {
    FL_TRY(const ProtoField field, reader.Next());
    if (field.number == 1) {
      model.ir_version = static_cast<std::int64_t>(field.value);
    } else if (field.number == 2) {
      FL_TRY(model.producer, ReadText(field));
    } else if (field.number == 7) {
      if (graph) return Malformed("expected one graph, found two");
      graph = true;
      FL_TRY_OK(field.Expect(WireType::kLength));
      FL_TRY_OK(ParseGraph(field.bytes, limits, model));
    } else if (field.number == 8) {
      FL_TRY_OK(ParseOpset(field, model));
    } else if (field.number == 14) {
      FL_TRY_OK(ParseMetadata(field, limits, model));
    } else if (field.number == 25) {
      return Unsupported("expected a file without functions of its own");
    }
  }
  if (!graph || model.ir_version <= 0 || model.opset <= 0) {
    return Malformed("expected an IR version, the version of the operators and a graph");
  }
  return model;
}

}  // namespace fl::onnx
