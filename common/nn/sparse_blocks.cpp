#include "fl/common/nn/sparse_blocks.h"

#include <algorithm>
#include <bit>
#include <string>

namespace fl::nn {
namespace {

constexpr std::size_t kQuad = 4;

Error Malformed(const std::string& message) {
  return {ErrorCode::kMalformed, "blocks of weights: " + message};
}

}  // namespace

std::size_t CountBlocks(std::span<const std::uint8_t> map) {
  std::size_t count = 0;
  for (const std::uint8_t byte : map) count += static_cast<std::size_t>(std::popcount(byte));
  return count;
}

SparseBlocks PackBlocks(std::span<const std::int8_t> weight, std::size_t depth) {
  const std::size_t channels = weight.size() / depth;
  const std::size_t row_bytes = SparseBlocks::map_row_bytes(depth);
  SparseBlocks blocks;
  blocks.map.resize(SparseBlocks::map_rows(channels) * row_bytes);
  for (std::size_t first = 0; first < channels; first += kQuad) {
    const std::size_t count = std::min(kQuad, channels - first);
    for (std::size_t k = 0; k < depth; ++k) {
      std::int8_t block[kQuad] = {};
      for (std::size_t c = 0; c < count; ++c) block[c] = weight[(first + c) * depth + k];
      if (std::ranges::all_of(block, [](std::int8_t value) { return value == 0; })) continue;
      std::uint8_t& bits = blocks.map[first / kQuad * row_bytes + k / 8];
      bits = static_cast<std::uint8_t>(bits | 1U << k % 8);
      blocks.values.insert(blocks.values.end(), block, block + kQuad);
    }
  }
  return blocks;
}

Result<std::vector<std::int8_t>> UnpackBlocks(const SparseBlocks& blocks, std::size_t channels,
                                              std::size_t depth) {
  const std::size_t row_bytes = SparseBlocks::map_row_bytes(depth);
  if (blocks.map.size() != SparseBlocks::map_rows(channels) * row_bytes)
    return Malformed("expected a map of a bit for each block, found another size");
  if (blocks.values.size() != CountBlocks(blocks.map) * kQuad) {
    return Malformed("expected 4 weights for each of the map's " +
                     std::to_string(CountBlocks(blocks.map)) + " blocks, found " +
                     std::to_string(blocks.values.size()) + " weights");
  }
  std::vector<std::int8_t> weight(channels * depth);
  const std::int8_t* block = blocks.values.data();
  for (std::size_t i = 0; i < blocks.map.size(); ++i) {
    const std::size_t first = i / row_bytes * kQuad;
    for (std::size_t bit = 0; bit < 8; ++bit) {
      if ((blocks.map[i] >> bit & 1) == 0) continue;
      const std::size_t k = i % row_bytes * 8 + bit;
      if (k >= depth) return Malformed("expected filling bits of zero, found a block beyond depth");
      bool any = false;
      for (std::size_t c = 0; c < kQuad; ++c) {
        any = any || block[c] != 0;
        if (first + c < channels) {
          weight[(first + c) * depth + k] = block[c];
        } else if (block[c] != 0) {
          return Malformed("expected zeros beyond the last channel, found a weight");
        }
      }
      if (!any) return Malformed("expected blocks with a weight, found one of zeros");
      block += kQuad;
    }
  }
  return weight;
}

}  // namespace fl::nn
