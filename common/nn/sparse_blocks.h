#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"

namespace fl::nn {

// An s8 weight, output channel first (channels x depth), without its zeros, as a model file holds
// it. A block is one input of four neighbouring output channels, the last ones filled with zeros;
// blocks of zeros alone are left out (pass prune_weights, pattern = "block4", makes them).
struct SparseBlocks {
  // For each four channels a bit for each input, least significant first: 1 where the block is
  // kept. Rows begin with a byte and are filled with zero bits.
  std::vector<std::uint8_t> map;
  std::vector<std::int8_t> values;  // 4 for each block that is kept, in the map's order.

  static std::size_t map_row_bytes(std::size_t depth) { return (depth + 7) / 8; }
  static std::size_t map_rows(std::size_t channels) { return (channels + 3) / 4; }
  std::size_t bytes() const { return map.size() + values.size(); }
};

// The number of blocks that a map keeps.
std::size_t CountBlocks(std::span<const std::uint8_t> map);

// Depth must divide the weight's size.
SparseBlocks PackBlocks(std::span<const std::int8_t> weight, std::size_t depth);

// The reverse; every weight has exactly one form. kMalformed when the map or the values do not have
// the size that follows from channels, depth and map, a filling bit is set, a channel beyond the
// last has a weight, or a block that is kept holds only zeros.
Result<std::vector<std::int8_t>> UnpackBlocks(const SparseBlocks& blocks, std::size_t channels,
                                              std::size_t depth);

}  // namespace fl::nn
