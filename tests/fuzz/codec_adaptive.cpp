#include "fl/tests/fuzz/codec_fuzz.h"

// A choice and a payload of the recipe that it stands for; and a budget for any values.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static constexpr std::string_view kRecipes[] = {"auto bytes=100", "auto bytes=1KB",
                                                  "auto bytes=1MB"};
  return fl::testing::FuzzCodecs(kRecipes, fl::Shape{20, 17}, data, size);
}
