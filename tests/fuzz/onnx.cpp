#include <cstdint>

#include "fl/common/nn/onnx/export_onnx.h"
#include "fl/common/nn/onnx/import_onnx.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fl::ByteSpan bytes = std::as_bytes(std::span(data, size));
  fl::onnx::ImportLimits limits;
  limits.graph.activation_max = 1U << 20;
  limits.graph.parameters_max = 1U << 20;
  const auto file = fl::onnx::ImportOnnx(bytes, limits);
  if (!file) return 0;
  // What is accepted can be written, and is accepted again.
  const auto model = fl::onnx::ExportOnnx(*file);
  FL_CHECK(model, "an imported model is exported");
  FL_CHECK(fl::onnx::ImportOnnx(fl::onnx::SerializeOnnx(*model)), "and imported again");
  return 0;
}
