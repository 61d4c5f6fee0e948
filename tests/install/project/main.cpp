// Compresses four values by a recipe, as a program outside this project would.
#include <array>
#include <cstdio>

#include "fl/compression/recipe.h"

int main() {
  const auto recipe = fl::ParseRecipe("quantize 8");
  if (!recipe) return 1;
  const auto codec = fl::BuildCodec(*recipe, fl::Shape{4});
  if (!codec) return 1;
  const std::array<float, 4> values = {0.5F, -1.0F, 0.25F, 1.0F};
  std::array<float, 4> decoded{};
  fl::ByteWriter payload;
  (*codec)->Encode(values, decoded, {}, fl::RngStream(1), payload);
  std::printf("%zu values in %zu bytes: %.2f\n", values.size(), payload.bytes().size(),
              static_cast<double>(decoded[1]));
  return 0;
}
