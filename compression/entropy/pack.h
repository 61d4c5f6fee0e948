#pragma once

#include <cstdint>
#include <span>

#include "fl/common/base/bytes.h"

// Fixed-width packing: code i takes bits [i * width, (i + 1) * width) of a little-endian bit
// string, width 1 to 8, so that any code can be reached at once. The bits after the last code are
// zero.
namespace fl {

inline std::size_t PackedBytes(std::size_t count, unsigned width) {
  return (count * width + 7) / 8;
}

// Appends PackedBytes(codes.size(), width) bytes; each code < 2^width.
void PackCodes(std::span<const std::uint8_t> codes, unsigned width, ByteWriter& out);

// out[i] = code first + i; the packed bytes hold all of them.
void UnpackCodes(ByteSpan packed, unsigned width, std::size_t first, std::span<std::uint8_t> out);

// Whether the bits behind the last of `count` codes are zero; packed.size() == PackedBytes(count,
// width).
bool PaddingIsZero(ByteSpan packed, std::size_t count, unsigned width);

}  // namespace fl
