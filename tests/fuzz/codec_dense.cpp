#include "fl/tests/fuzz/codec_fuzz.h"

// Raw, fp16 and quantized values of a whole segment.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static constexpr std::string_view kRecipes[] = {"raw",
                                                  "fp16",
                                                  "quantize 1",
                                                  "quantize 3 asymmetric",
                                                  "quantize 4",
                                                  "quantize 8 stochastic",
                                                  "quantize 5 per=channel",
                                                  "quantize 6 scale=shared"};
  return fl::testing::FuzzCodecs(kRecipes, fl::Shape{7, 5}, data, size);
}
