#include "fl/tests/fuzz/codec_fuzz.h"

// Convolution kernels as small ones between two factors.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static constexpr std::string_view kRecipes[] = {"tucker 1 1", "tucker 2 3 | quantize 4",
                                                  "tucker 3 2 | fp16", "tucker 2 2 | lloyd 3"};
  return fl::testing::FuzzCodecs(kRecipes, fl::Shape{2, 3, 5, 6}, data, size);
}
