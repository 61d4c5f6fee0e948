// The bytes of each codec: tests/golden/codecs.txt, lines of "RECIPE; SHAPE; SEED; HEX". A change
// of a format shows there.
#include <cmath>
#include <fstream>
#include <sstream>

#include "fl/tests/compression/codec_builder.h"

namespace fl {
namespace {

struct Golden {
  std::string recipe;
  std::string shape;
  std::uint64_t seed = 0;
  std::string hex;
};

std::vector<Golden> ReadGolden() {
  std::ifstream file(FL_TEST_SOURCE_DIR "/tests/golden/codecs.txt");
  std::vector<Golden> all;
  for (std::string line; std::getline(file, line);) {
    std::istringstream parts(line);
    Golden golden;
    std::string seed;
    std::getline(parts, golden.recipe, ';');
    std::getline(parts >> std::ws, golden.shape, ';');
    std::getline(parts >> std::ws, seed, ';');
    std::getline(parts >> std::ws, golden.hex);
    golden.seed = std::stoull(seed);
    all.push_back(golden);
  }
  return all;
}

Shape ParseShape(const std::string& text) {
  std::vector<std::size_t> extents;
  std::istringstream parts(text);
  for (std::string extent; std::getline(parts, extent, 'x');)
    extents.push_back(std::stoull(extent));
  return Shape(extents);
}

// Only exact arithmetic, so that the values are the same with every C library; a few are much
// larger than the others.
std::vector<float> GoldenValues(std::size_t count, std::uint64_t seed) {
  std::vector<float> values(count);
  RngStream rng(seed);
  rng.FillUniform(values);
  for (std::size_t i = 0; i < count; ++i)
    values[i] = (values[i] - 0.5F) * (i % 11 == 3 ? 8.0F : 1.0F);
  return values;
}

TEST_CASE("Codec: the bytes are golden") {
  const std::vector<Golden> all = ReadGolden();
  REQUIRE(all.size() == 59);
  for (const Golden& golden : all) {
    CAPTURE(golden.recipe);
    const Shape shape = ParseShape(golden.shape);
    const auto codec = testing::MakeCodec(golden.recipe, shape);
    const auto encoded = testing::EncodeValues(*codec, GoldenValues(shape.count(), golden.seed),
                                               RngStream(golden.seed));
    CHECK(ToHex(encoded.payload) == golden.hex);
  }
}

}  // namespace
}  // namespace fl
