#include "fl/compression/entropy/pack.h"

#include <doctest/doctest.h>

#include "fl/tests/support/property.h"

namespace fl {
namespace {

TEST_CASE("PackCodes: any piece of the codes comes back at every width") {
  for (unsigned width = 1; width <= 8; ++width) {
    CAPTURE(width);
    testing::ForAll(20, [&](RngStream& rng) {
      std::vector<std::uint8_t> codes(1 + rng.UniformInteger(200));
      for (std::uint8_t& code : codes)
        code = static_cast<std::uint8_t>(rng.UniformInteger(1U << width));
      ByteWriter out;
      out.Write(std::uint8_t{7});
      PackCodes(codes, width, out);
      const ByteSpan packed = ByteSpan(out.bytes()).subspan(1);
      CHECK(packed.size() == PackedBytes(codes.size(), width));
      CHECK(PaddingIsZero(packed, codes.size(), width));
      const std::size_t first = rng.UniformInteger(codes.size());
      std::vector<std::uint8_t> piece(1 + rng.UniformInteger(codes.size() - first));
      UnpackCodes(packed, width, first, piece);
      CHECK(std::equal(piece.begin(), piece.end(),
                       codes.begin() + static_cast<std::ptrdiff_t>(first)));
    });
  }
}

TEST_CASE("PaddingIsZero: a bit behind the last code is seen") {
  CHECK_FALSE(PaddingIsZero(Bytes{std::byte{0x10}}, 1, 4));
  CHECK(PaddingIsZero(Bytes{std::byte{0x0F}}, 1, 4));
  CHECK(PaddingIsZero(Bytes{std::byte{0xFF}}, 1, 8));
  CHECK(PaddingIsZero(Bytes{}, 0, 4));
}

}  // namespace
}  // namespace fl
