#include "fl/tests/fuzz/codec_fuzz.h"

// The value coders beside raw, fp16 and quantize, and grids of groups.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static constexpr std::string_view kRecipes[] = {"bf16",
                                                  "natural",
                                                  "sign",
                                                  "lloyd 1",
                                                  "lloyd 5",
                                                  "quantize 4 per=group:16",
                                                  "quantize 3 asymmetric stochastic per=group:9"};
  return fl::testing::FuzzCodecs(kRecipes, fl::Shape{7, 5}, data, size);
}
