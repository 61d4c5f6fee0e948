#include "fl/common/tensor/safetensors.h"

// What parses is written as it was read, and its floats load or are refused.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = fl::ParseSafetensors(std::as_bytes(std::span(data, size)));
  if (!file) return 0;
  const fl::Bytes bytes = fl::SerializeSafetensors(*file);
  const auto again = fl::ParseSafetensors(bytes);
  FL_CHECK(again && *again == *file, "decoding what was encoded gives the file again");
  FL_CHECK(fl::SerializeSafetensors(*again) == bytes, "encoding is deterministic");
  for (const fl::StoredTensor& tensor : file->tensors)
    static_cast<void>(fl::LoadFloats(tensor).has_value());
  return 0;
}
