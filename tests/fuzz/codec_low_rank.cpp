#include "fl/tests/fuzz/codec_fuzz.h"

// Products of factors.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static constexpr std::string_view kRecipes[] = {"low_rank 1",
                                                  "low_rank 2 | quantize 4",
                                                  "low_rank 3 | fp16",
                                                  "low_rank 9 | quantize 2",
                                                  "low_rank 2 | quantize step=1",
                                                  "low_rank energy=80% | quantize 4",
                                                  "low_rank bytes=24 max=4 | quantize step=1",
                                                  "low_rank 2 | lloyd 3",
                                                  "low_rank 3 | quantize 4 asymmetric per=group:8",
                                                  "low_rank 2 basis=shared | quantize 4",
                                                  "low_rank 5 basis=shared",
                                                  "low_rank 3 basis=shared | quantize step=1"};
  return fl::testing::FuzzCodecs(kRecipes, fl::Shape{9, 6}, data, size);
}
