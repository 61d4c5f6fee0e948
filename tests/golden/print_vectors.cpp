// What a second implementation is compared with: for each line of codecs.txt its payload, and the
// payload of a larger segment by the same recipe, and of a second round where that shares what
// follows from the first, each beside what our codec decodes from it. A line of JSON each:
//   {"recipe": TEXT, "shape": [...], "parameters": HEX, "payload": HEX, "decoded": HEX}    decoded:
//   little-endian fp32
// And changes on a lattice:
//   {"change": HEX, "shapes": [[...], ...], "fineness": NUMBER, "levels": [...]}
#include <cmath>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "fl/compression/lattice.h"
#include "fl/compression/recipe.h"

namespace {

using fl::Shape;

struct Golden {
  std::string recipe;
  Shape shape;
  fl::Bytes payload;
};

std::string Field(std::istream& line) {
  std::string text;
  std::getline(line >> std::ws, text, ';');
  return text;
}

Shape ParseShape(const std::string& text) {
  std::vector<std::size_t> extents;
  std::istringstream parts(text);
  for (std::string extent; std::getline(parts, extent, 'x');)
    extents.push_back(std::stoull(extent));
  return Shape(extents);
}

std::vector<Golden> ReadGolden(const std::string& path) {
  std::ifstream file(path);
  std::vector<Golden> all;
  for (std::string text; std::getline(file, text);) {
    std::istringstream line(text);
    Golden golden;
    golden.recipe = Field(line);
    golden.shape = ParseShape(Field(line));
    Field(line);
    golden.payload = fl::FromHex(Field(line)).value();
    all.push_back(std::move(golden));
  }
  return all;
}

void Print(const std::string& recipe, const Shape& shape, fl::ByteSpan parameters,
           fl::ByteSpan payload, std::span<const float> decoded) {
  std::cout << R"({"recipe": ")" << recipe << R"(", "shape": [)";
  for (std::size_t i = 0; i < shape.rank(); ++i) std::cout << (i > 0 ? ", " : "") << shape[i];
  std::cout << R"(], "parameters": ")" << fl::ToHex(parameters) << R"(", "payload": ")"
            << fl::ToHex(payload) << R"(", "decoded": ")" << fl::ToHex(std::as_bytes(decoded))
            << "\"}\n";
}

// Some values of every size: most are small, each thirteenth is not, a few rows are all zero.
std::vector<float> MixedValues(std::size_t count) {
  std::vector<float> values(count);
  fl::RngStream rng(41);
  for (std::size_t i = 0; i < count; ++i) {
    const float normal = rng.Normal();
    values[i] = i / 60 % 7 == 5 ? 0.0F : normal * (i % 13 == 4 ? 6.0F : 0.5F);
  }
  return values;
}

bool PrintDecoded(const fl::Codec& codec, const std::string& recipe, const Shape& shape,
                  const fl::RoundParameters& parameters, fl::ByteSpan payload) {
  const auto parsed = codec.Parse(payload, parameters, {});
  if (!parsed) {
    std::cerr << recipe << " on " << shape.ToText() << ": " << parsed.error().message << '\n';
    return false;
  }
  std::vector<float> decoded(codec.count());
  codec.DecodeAdd(**parsed, 0, 1.0F, decoded);
  Print(recipe, shape, parameters.bytes, payload, decoded);
  return true;
}

bool PrintEncoded(const std::string& recipe, const Shape& shape) {
  const auto codec = fl::BuildCodec(fl::ParseRecipe(recipe).value(), shape).value();
  const int rounds = codec->traits().server_state ? 2 : 1;
  fl::RoundParameters parameters{codec->InitialParameters()};
  bool good = true;
  for (int round = 0; round < rounds; ++round) {
    std::vector<float> decoded(codec->count());
    fl::ByteWriter payload;
    codec->Encode(MixedValues(codec->count()), decoded, parameters, fl::RngStream(42), payload);
    good = PrintDecoded(*codec, recipe, shape, parameters, payload.bytes()) && good;
    fl::RoundFeedback feedback;
    feedback.aggregate = decoded;
    parameters.bytes = codec->NextParameters(parameters.bytes, feedback);
  }
  return good;
}

// Levels of several sizes, all of them multiples of 2^shift.
void PrintLatticeChange(unsigned fineness, unsigned shift) {
  const fl::TensorLayout layout(
      {{"a.weight", {60, 43}}, {"a.bias", {43}}, {"b.weight", {5, 3}}, {"c.weight", {3, 3, 2, 4}}});
  fl::LatticeChange change{fineness, std::vector<std::int32_t>(layout.total())};
  const std::vector<float> values = MixedValues(layout.total());
  for (std::size_t i = 0; i < values.size() && i < layout.offset(2); ++i) {
    change.levels[i] = static_cast<std::int32_t>(values[i]) * (1 << shift);
  }
  std::cout << R"({"change": ")" << fl::ToHex(EncodeLatticeChange(change, layout))
            << R"(", "shapes": [[60, 43], [43], [5, 3], [3, 3, 2, 4]], "fineness": )" << fineness
            << R"(, "levels": [)";
  for (std::size_t i = 0; i < change.levels.size(); ++i) {
    std::cout << (i > 0 ? ", " : "") << change.levels[i];
  }
  std::cout << "]}\n";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "print_vectors: expected the path of codecs.txt\n";
    return 2;
  }
  bool good = true;
  for (const Golden& golden : ReadGolden(argv[1])) {
    const auto codec = fl::BuildCodec(fl::ParseRecipe(golden.recipe).value(), golden.shape).value();
    good = PrintDecoded(*codec, golden.recipe, golden.shape, {codec->InitialParameters()},
                        golden.payload) &&
           good;
    const Shape larger = golden.shape.rank() < 2    ? Shape{2500}
                         : golden.shape.rank() == 4 ? Shape{3, 3, 20, 14}
                                                    : Shape{60, 43};
    good = PrintEncoded(golden.recipe, larger) && good;
  }
  // Longer than a block of indices or a part of levels.
  for (const char* recipe :
       {"top_k 1% | quantize 8", "dead_zone 3 | context", "dead_zone 3 | rice"})
    good = PrintEncoded(recipe, Shape{310, 430}) && good;
  PrintLatticeChange(0, 0);
  PrintLatticeChange(0, 7);
  PrintLatticeChange(fl::kReleasedFineness, 3);
  return good ? 0 : 1;
}
