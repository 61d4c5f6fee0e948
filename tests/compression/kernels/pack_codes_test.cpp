#include "fl/compression/kernels/pack_codes.h"

#include <vector>

#include <doctest/doctest.h>

#include "fl/common/base/bytes.h"
#include "fl/common/random/rng_stream.h"
#include "fl/compression/kernels/unpack_codes.h"
#include "fl/tests/support/simd_targets.h"

namespace fl::kernels {
namespace {

TEST_CASE("PackWidth: each instruction set writes the reference's bytes, which unpack again") {
  std::vector<std::uint8_t> drawn(150);
  RngStream rng(9);
  for (std::uint8_t& code : drawn) code = static_cast<std::uint8_t>(rng.NextU32() & 127U);
  testing::ForEachTarget([&] {
    for (unsigned width = 1; width <= 7; ++width) {
      CAPTURE(width);
      for (std::size_t length = 0; length <= drawn.size(); ++length) {
        std::vector<std::uint8_t> codes(drawn.begin(),
                                        drawn.begin() + static_cast<std::ptrdiff_t>(length));
        for (std::uint8_t& code : codes) code = static_cast<std::uint8_t>(code >> (7 - width));
        Bytes packed((length * width + 7) / 8, std::byte{0xFF});
        Bytes expected = packed;
        PackWidth(codes, width, packed);
        PackWidthReference(codes, width, expected);
        CHECK(packed == expected);
        std::vector<std::uint8_t> unpacked(length);
        UnpackWidthReference(packed, width, unpacked);
        CHECK(unpacked == codes);
      }
    }
  });
}

}  // namespace
}  // namespace fl::kernels
