#include "fl/compression/piece_encoder.h"

#include <algorithm>
#include <string>

#include "fl/tests/compression/codec_builder.h"
#include "fl/tests/support/property.h"

namespace fl {
namespace {

using testing::EncodeValues;
using testing::MakeCodec;
using testing::NormalValues;

constexpr std::size_t kCount = 5003;

TEST_CASE("PieceEncoder: the bytes and what is seen of them do not depend on the pieces") {
  for (const std::string recipe : {"raw", "fp16", "bf16", "quantize 1", "quantize 1 stochastic",
                                   "quantize 3", "quantize 4 stochastic", "quantize 5 asymmetric",
                                   "quantize 8", "quantize 4 scale=shared range=2 stochastic"}) {
    CAPTURE(recipe);
    const auto codec = MakeCodec(recipe, Shape{kCount});
    testing::ForAll(5, [&](RngStream& rng) {
      const std::vector<float> values = NormalValues(kCount, rng.Child("values"));
      const auto expected = EncodeValues(*codec, values, rng.Child("codec"));
      std::vector<std::size_t> cuts = {0, kCount};
      for (int i = 0; i < 4; ++i) cuts.push_back(8 * rng.UniformInteger(kCount / 8));
      std::ranges::sort(cuts);
      std::vector<float> row = values;  // In place: what is seen takes the values' place.
      const auto piece = [&](std::size_t i) {
        return std::span(row).subspan(cuts[i], cuts[i + 1] - cuts[i]);
      };
      const auto pieces = codec->EncodePieces(expected.parameters);
      REQUIRE(pieces != nullptr);
      RngStream draws = rng.Child("codec");
      ByteWriter out;
      for (std::size_t i = 0; i + 1 < cuts.size(); ++i) pieces->Measure(piece(i));
      pieces->Begin(out);
      for (std::size_t i = 0; i + 1 < cuts.size(); ++i)
        pieces->Write(piece(i), piece(i), draws, out);
      CHECK(out.bytes() == expected.payload);
      CHECK(row == expected.decoded);
    });
  }
}

TEST_CASE("EncodePieces: none where the values must be seen at once") {
  for (const std::string recipe : {"lloyd 3", "eden 1", "quantize 4 per=channel", "top_k 1%"}) {
    CAPTURE(recipe);
    CHECK(MakeCodec(recipe, Shape{60, 50})->EncodePieces({}) == nullptr);
  }
}

}  // namespace
}  // namespace fl
