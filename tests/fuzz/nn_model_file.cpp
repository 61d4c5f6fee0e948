#include <cstdint>

#include "fl/common/nn/model_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fl::ByteSpan bytes = std::as_bytes(std::span(data, size));
  const auto file = fl::nn::ParseModelFile(bytes);
  if (!file) return 0;
  // What is accepted is written and read back as the same bytes.
  const fl::Bytes once = fl::nn::SerializeModelFile(*file);
  const auto again = fl::nn::ParseModelFile(once);
  FL_CHECK(again && fl::nn::SerializeModelFile(*again) == once, "a model file has one form");
  return 0;
}
