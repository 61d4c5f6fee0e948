#include "fl/tests/fuzz/codec_fuzz.h"

// Kept coordinates: gaps, counts and values.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static constexpr std::string_view kRecipes[] = {"top_k 3%", "top_k 20% | fp16",
                                                  "top_k 1% | quantize 8",
                                                  "top_k 100% | quantize 2 stochastic"};
  return fl::testing::FuzzCodecs(kRecipes, fl::Shape{66000}, data, size);
}
