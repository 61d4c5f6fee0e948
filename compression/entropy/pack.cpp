#include "fl/compression/entropy/pack.h"

#include <algorithm>
#include <cstring>

#include "fl/compression/kernels/add_values.h"
#include "fl/compression/kernels/pack_codes.h"
#include "fl/compression/kernels/unpack_codes.h"

namespace fl {
namespace {

// Eight codes of `width` bits are `width` bytes: one word holds them.
constexpr std::size_t kGroup = 8;

std::uint64_t LoadWord(ByteSpan bytes, std::size_t at, std::size_t size) {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes.data() + at, std::min(size, bytes.size() - at));
  return word;
}

std::uint8_t CodeAt(ByteSpan packed, unsigned width, std::size_t index) {
  const std::size_t bit = index * width;
  const std::uint64_t word = LoadWord(packed, bit / 8, 2);
  return static_cast<std::uint8_t>((word >> (bit % 8)) & ((1U << width) - 1));
}

}  // namespace

void PackCodes(std::span<const std::uint8_t> codes, unsigned width, ByteWriter& out) {
  if (codes.empty()) return;
  if (width == 8) return out.WriteSpan(std::as_bytes(codes));
  const std::size_t at = out.size();
  out.bytes().resize(at + PackedBytes(codes.size(), width));
  kernels::PackWidth(codes, width, std::span(out.bytes()).subspan(at));
}

void UnpackCodes(ByteSpan packed, unsigned width, std::size_t first, std::span<std::uint8_t> out) {
  if (width == 8) {
    if (!out.empty()) std::memcpy(out.data(), packed.data() + first, out.size());
    return;
  }
  std::size_t i = 0;
  for (; i < out.size() && (first + i) % kGroup != 0; ++i)
    out[i] = CodeAt(packed, width, first + i);
  const ByteSpan rest = packed.subspan((first + i) * width / 8);
  if (width == 4) {
    kernels::UnpackNibbles(rest.first((out.size() - i + 1) / 2), out.subspan(i));
  } else {
    kernels::UnpackWidth(rest, width, out.subspan(i));
  }
}

bool PaddingIsZero(ByteSpan packed, std::size_t count, unsigned width) {
  const std::size_t used = count * width % 8;
  return used == 0 || (std::to_integer<unsigned>(packed.back()) >> used) == 0;
}

}  // namespace fl
