#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "fl/common/base/bytes.h"
#include "fl/common/tensor/tensor.h"

namespace fl {

// Element types of a safetensors file that we read and write.
enum class DType : std::uint8_t { kF32, kF16, kBF16, kI8, kU8, kI16, kI32, kI64 };
std::size_t DTypeBytes(DType dtype);
std::string_view DTypeName(DType dtype);

// One tensor as it lies in the file: little-endian, row-major.
struct StoredTensor {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  Bytes data;  // shape.count() * DTypeBytes(dtype).
  friend bool operator==(const StoredTensor&, const StoredTensor&) = default;
};

// The content of a safetensors file: u64 header length, JSON header, data.
// (https://github.com/huggingface/safetensors)
struct SafetensorsFile {
  std::map<std::string, std::string> metadata;
  std::vector<StoredTensor> tensors;  // In the order of their data.

  const StoredTensor* Find(std::string_view name) const;
  friend bool operator==(const SafetensorsFile&, const SafetensorsFile&) = default;
};

struct SafetensorsLimits {
  std::uint64_t header_bytes_max = 16U << 20;
  std::uint64_t data_bytes_max = 1ULL << 34;
  std::size_t tensors_max = 65536;
};

// Reads a file's bytes. kMalformed, kLimitExceeded or kUnsupported (element type, an extent of 0,
// more than 8 extents), with the name of the tensor in the message. Offsets must be in range,
// without gap or overlap; names unique; nothing is allocated by a declared size before it is
// checked.
Result<SafetensorsFile> ParseSafetensors(ByteSpan bytes, const SafetensorsLimits& limits = {});

// The file's bytes: deterministic (metadata sorted, tensors in order), the data 64-byte aligned by
// spaces in the header.
Bytes SerializeSafetensors(const SafetensorsFile& file);

// fp32 tensors to and from the file's form. kShapeMismatch when the file's tensors are not the
// layout's; kNotFinite.
StoredTensor StoreFloats(std::string name, Shape shape, std::span<const float> values);
// Converts F32, F16 and BF16 to fp32; kUnsupported for another type.
Result<std::vector<float>> LoadFloats(const StoredTensor& tensor);
void AppendTensors(const NamedTensors& tensors, SafetensorsFile& file);
// All tensors of the layout, by name, from the file.
Result<NamedTensors> ExtractTensors(const SafetensorsFile& file, const TensorLayout& layout);

}  // namespace fl
