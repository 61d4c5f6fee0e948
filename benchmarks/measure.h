#pragma once

#include <algorithm>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "fl/compression/recipe.h"

namespace fl::bench {

double Median(std::vector<double> values);

// The processor's time of this thread so far, in seconds: it stands still while others run.
double ThreadSeconds();
// How much of it a call takes.
template <typename Call>
double Seconds(Call call) {
  const double begin = ThreadSeconds();
  call();
  return ThreadSeconds() - begin;
}
// The median of some calls, after one that warms up.
template <typename Call>
double MedianSeconds(std::size_t repeats, Call call) {
  call();
  std::vector<double> seconds(repeats);
  for (double& one : seconds) one = Seconds(call);
  return Median(std::move(seconds));
}

// The codec of a recipe that fits the shape; ends the program where it does not.
std::unique_ptr<Codec> MakeCodec(std::string_view recipe, const Shape& shape);

// What a recipe makes of some values.
struct Coded {
  std::vector<Bytes> payloads;  // One for each matrix.
  double bits = 0;              // Of a value.
  double nmse = 0;              // Squared error over energy.
};
// Values of one shape each, and the same recipe for all.
struct Matrices {
  std::vector<Shape> shapes;
  std::vector<std::vector<float>> values;
};
Coded Code(std::string_view recipe, const Matrices& matrices, std::uint64_t seed);

// out += scale x what a payload says, in blocks of as many coordinates as the fold takes.
inline constexpr std::size_t kFoldBlock = 65536;
void AddInBlocks(const Codec& codec, const ParsedPayload& payload, float scale,
                 std::span<float> out);

}  // namespace fl::bench
