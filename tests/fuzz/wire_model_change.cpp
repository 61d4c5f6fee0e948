#include <array>
#include <cstddef>
#include <cstdint>

#include "fl/common/wire/model_change.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::array<float, 5> base = {0.5F, -1.0F, 0.0F, 3.0F, 1e-20F};
  std::array<float, 5> out{};
  const auto bytes = std::as_bytes(std::span(data, size));
  static_cast<void>(fl::wire::ApplyModelChange(bytes, base, out));
  return 0;
}
