#include "fl/compression/recipe.h"

#include <cstdint>

// A recipe is read or refused; what is read has one spelling, and its codec, where there is one, a
// bound for its bytes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto recipe = fl::ParseRecipe(fl::AsText(std::as_bytes(std::span(data, size))));
  if (!recipe) return 0;
  const std::string text = fl::ToText(*recipe);
  // With single spaces it may be longer than what is read.
  if (text.size() <= 1000)
    FL_CHECK(fl::ToText(*fl::ParseRecipe(text)) == text, "a recipe has one spelling");
  const auto codec = fl::BuildCodec(*recipe, fl::Shape{30, 20});
  if (codec) FL_CHECK((*codec)->EncodedBytesMax() > 0, "a codec has a bound");
  return 0;
}
