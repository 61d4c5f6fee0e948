#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "fl/compression/recipe.h"
#include "fl/tests/support/result.h"

namespace fl::testing {

inline std::unique_ptr<Codec> MakeCodec(std::string_view recipe, const Shape& shape) {
  return Get(BuildCodec(Get(ParseRecipe(recipe)), shape));
}

inline std::vector<float> NormalValues(std::size_t count, RngStream rng) {
  std::vector<float> values(count);
  rng.FillNormal(values);
  return values;
}

// What Encode gave, with the round's parameters that the recipe starts from.
struct Encoded {
  Bytes payload;
  std::vector<float> decoded;
  RoundParameters parameters;
};
inline Encoded EncodeValues(const Codec& codec, std::span<const float> values,
                            const RngStream& rng) {
  Encoded encoded{{}, std::vector<float>(values.size()), {codec.InitialParameters()}};
  ByteWriter out;
  codec.Encode(values, encoded.decoded, encoded.parameters, rng, out);
  encoded.payload = std::move(out).Take();
  return encoded;
}

inline std::vector<float> DecodeAll(const Codec& codec, const Encoded& encoded) {
  const auto parsed = Get(codec.Parse(encoded.payload, encoded.parameters, {}));
  std::vector<float> decoded(codec.count());
  codec.DecodeAdd(*parsed, 0, 1.0F, decoded);
  return decoded;
}

// The squared error relative to the squared values.
inline double RelativeError(std::span<const float> values, std::span<const float> decoded) {
  double error = 0;
  double energy = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double difference = static_cast<double>(values[i]) - static_cast<double>(decoded[i]);
    error += difference * difference;
    energy += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  }
  return error / energy;
}

}  // namespace fl::testing
