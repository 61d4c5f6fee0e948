#include "fl/common/random/kernels/uniform.h"

#include <vector>

#include <doctest/doctest.h>

#include "fl/tests/support/simd_targets.h"

namespace fl::kernels {
namespace {

TEST_CASE("FillUniformBlocks, FillWordBlocks: all instruction sets draw the same") {
  constexpr std::uint64_t kKey = 0x123456789ABCDEF0U;
  testing::ForEachTarget([] {
    for (const std::uint64_t first : {0UL, 5UL, 0xFFFFFFFEUL, 0xFFFFFFFFFFFFFFFEUL}) {
      for (std::size_t blocks = 0; blocks <= 50; ++blocks) {
        CAPTURE(first);
        CAPTURE(blocks);
        std::vector<float> drawn(4 * blocks);
        std::vector<float> expected(4 * blocks);
        FillUniformBlocks(kKey, first, drawn);
        FillUniformBlocksReference(kKey, first, expected);
        CHECK(drawn == expected);
        std::vector<std::uint32_t> words(4 * blocks);
        std::vector<std::uint32_t> expected_words(4 * blocks);
        FillWordBlocks(kKey, first, words);
        FillWordBlocksReference(kKey, first, expected_words);
        CHECK(words == expected_words);
      }
    }
  });
}

}  // namespace
}  // namespace fl::kernels
