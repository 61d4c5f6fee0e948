#include "fl/compression/entropy/pack.h"

#include <algorithm>
#include <cstring>

#include "fl/compression/kernels/add_values.h"

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
  std::size_t at = out.size();
  out.bytes().resize(at + PackedBytes(codes.size(), width));
  for (std::size_t i = 0; i < codes.size(); i += kGroup) {
    const std::size_t count = std::min(kGroup, codes.size() - i);
    std::uint64_t word = 0;
    for (std::size_t j = 0; j < count; ++j) word |= std::uint64_t{codes[i + j]} << (j * width);
    const std::size_t size = PackedBytes(count, width);
    std::memcpy(out.bytes().data() + at, &word, size);
    at += size;
  }
}

void UnpackCodes(ByteSpan packed, unsigned width, std::size_t first, std::span<std::uint8_t> out) {
  if (width == 8) {
    if (!out.empty()) std::memcpy(out.data(), packed.data() + first, out.size());
    return;
  }
  std::size_t i = 0;
  for (; i < out.size() && (first + i) % kGroup != 0; ++i)
    out[i] = CodeAt(packed, width, first + i);
  if (width == 4) {
    const std::size_t whole = out.size() - i;
    kernels::UnpackNibbles(packed.subspan((first + i) / 2, (whole + 1) / 2), out.subspan(i));
    return;
  }
  const std::uint64_t mask = (1U << width) - 1;
  for (; i + kGroup <= out.size(); i += kGroup) {
    std::uint64_t word = LoadWord(packed, (first + i) / kGroup * width, width);
    for (std::size_t j = 0; j < kGroup; ++j, word >>= width)
      out[i + j] = static_cast<std::uint8_t>(word & mask);
  }
  for (; i < out.size(); ++i) out[i] = CodeAt(packed, width, first + i);
}

bool PaddingIsZero(ByteSpan packed, std::size_t count, unsigned width) {
  const std::size_t used = count * width % 8;
  return used == 0 || (std::to_integer<unsigned>(packed.back()) >> used) == 0;
}

}  // namespace fl
