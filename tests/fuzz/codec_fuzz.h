#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "fl/compression/recipe.h"

namespace fl::testing {

// A payload decodes to bounded values, the same for any split, or is refused.
inline void FuzzPayload(const Codec& codec, const RoundParameters& parameters, ByteSpan payload) {
  const auto parsed = codec.Parse(payload, parameters, {});
  if (!parsed) return;
  FL_CHECK(payload.size() <= codec.EncodedBytesMax(),
           "no accepted payload is larger than the bound");
  std::vector<float> whole(codec.count());
  codec.DecodeAdd(**parsed, 0, 1.0F, whole);
  FL_CHECK(std::ranges::all_of(whole, [](float value) { return std::fabs(value) < 1.01e9F; }),
           "within the limits");
  std::vector<float> pieces(codec.count());
  const std::size_t cut = codec.count() / 3;
  codec.DecodeAdd(**parsed, 0, 1.0F, std::span(pieces).first(cut));
  codec.DecodeAdd(**parsed, cut, 1.0F, std::span(pieces).subspan(cut));
  FL_CHECK(pieces == whole, "any split gives the same bits");
}

// Values that the bytes stand for are encoded twice to the same bytes, which decode to what Encode
// said.
inline void FuzzRoundTrip(const Codec& codec, const RoundParameters& parameters, ByteSpan bytes) {
  std::vector<float> values(codec.count());
  std::memcpy(values.data(), bytes.data(), std::min(bytes.size(), values.size() * sizeof(float)));
  for (float& value : values) value = std::fabs(value) < 1e6F ? value : 0.0F;
  std::vector<float> decoded(codec.count());
  ByteWriter once;
  ByteWriter again;
  codec.Encode(values, decoded, parameters, RngStream(1), once);
  codec.Encode(values, decoded, parameters, RngStream(1), again);
  FL_CHECK(once.bytes() == again.bytes(), "the same values and stream give the same bytes");
  FL_CHECK(once.size() <= codec.EncodedBytesMax(), "no payload is larger than the bound");
  const auto parsed = codec.Parse(once.bytes(), parameters, {});
  FL_CHECK(parsed.has_value(), "what was encoded is accepted");
  std::vector<float> seen(codec.count());
  codec.DecodeAdd(**parsed, 0, 1.0F, seen);
  FL_CHECK(seen == decoded, "the decoder sees what Encode said");
}

// The first byte chooses the recipe, the rest is a payload and values.
inline int FuzzCodecs(std::span<const std::string_view> recipes, const Shape& shape,
                      const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto recipe = ParseRecipe(recipes[data[0] % recipes.size()]);
  const auto codec = BuildCodec(*recipe, shape);
  FL_CHECK(codec.has_value(), "the recipes are right");
  const RoundParameters parameters{(*codec)->InitialParameters()};
  const ByteSpan bytes = std::as_bytes(std::span(data, size)).subspan(1);
  FuzzPayload(**codec, parameters, bytes);
  FuzzRoundTrip(**codec, parameters, bytes);
  return 0;
}

}  // namespace fl::testing
