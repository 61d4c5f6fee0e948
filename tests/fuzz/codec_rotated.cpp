#include "fl/tests/fuzz/codec_fuzz.h"

// Rotations, of two whole blocks and a shorter unit, a threshold, masks, and sketches.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static constexpr std::string_view kRecipes[] = {
      "eden 1 block=64",
      "eden 4 block=64",
      "eden 0.3 block=64",
      "eden 1.5 block=64 scale=nearest",
      "hadamard 64 | quantize 4",
      "hadamard 64 | lloyd 2",
      "hadamard 64 seed=shared | quantize 4 scale=shared range=4 stochastic",
      "hadamard 64 | dead_zone 1 | rice",
      "threshold 1.5 | lloyd 2",
      "shared_mask 30% block=8 | quantize 4 scale=shared range=4",
      "shared_mask 30% unbiased block=1 | natural",
      "announced 30% | quantize 8 scale=shared range=4",
      "sketch 3x20",
      "sketch 4x9 seed=5 | quantize 4 scale=shared range=9"};
  return fl::testing::FuzzCodecs(kRecipes, fl::Shape{10, 17}, data, size);
}
