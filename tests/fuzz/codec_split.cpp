#include "fl/tests/fuzz/codec_fuzz.h"

// Recipes joined by +.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static constexpr std::string_view kRecipes[] = {
      "low_rank 1 | quantize 4 + top_k 10% | fp16", "sign + quantize 2 + fp16",
      "low_rank 2 | quantize step=2 + top_k 5% | ternary | context"};
  return fl::testing::FuzzCodecs(kRecipes, fl::Shape{9, 6}, data, size);
}
