#include "fl/compression/entropy/pack.h"

#include <algorithm>
#include <cstring>

#include "fl/compression/kernels/add_values.h"
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

// Brings eight codes from a byte each to `width` bits each, side by side: eighths, quarters and
// halves of the group move together, so many bits at a time.
struct Narrowing {
  explicit Narrowing(unsigned width)
      : halves((std::uint64_t{1} << (4 * width)) - 1),
        quarters(((std::uint64_t{1} << (2 * width)) - 1) * 0x0000000100000001U),
        eighths(((std::uint64_t{1} << width) - 1) * 0x0001000100010001U),
        width_bits(width) {}

  std::uint64_t FromBytes(std::uint64_t word) const {
    word = (word & eighths) | ((word >> (8 - width_bits)) & (eighths << width_bits));
    word = (word & quarters) | ((word >> (16 - 2 * width_bits)) & (quarters << (2 * width_bits)));
    return (word & halves) | ((word >> (32 - 4 * width_bits)) & (halves << (4 * width_bits)));
  }

  std::uint64_t halves;
  std::uint64_t quarters;
  std::uint64_t eighths;
  unsigned width_bits;
};

}  // namespace

void PackCodes(std::span<const std::uint8_t> codes, unsigned width, ByteWriter& out) {
  std::size_t at = out.size();
  out.bytes().resize(at + PackedBytes(codes.size(), width));
  if (width == 8) {
    if (!codes.empty()) std::memcpy(out.bytes().data() + at, codes.data(), codes.size());
    return;
  }
  const std::span<std::byte> bytes(out.bytes());
  const Narrowing narrowing(width);
  std::size_t i = 0;
  // A whole word is written where there is room: its zeros lie where the next group comes.
  for (; i + kGroup <= codes.size() && at + sizeof(std::uint64_t) <= bytes.size(); i += kGroup) {
    std::uint64_t word = 0;
    std::memcpy(&word, codes.data() + i, sizeof(word));
    word = narrowing.FromBytes(word);
    std::memcpy(bytes.data() + at, &word, sizeof(word));
    at += width;
  }
  for (; i < codes.size(); i += kGroup) {
    const std::size_t count = std::min(kGroup, codes.size() - i);
    std::uint64_t word = 0;
    std::memcpy(&word, codes.data() + i, count);
    word = narrowing.FromBytes(word);
    std::memcpy(bytes.data() + at, &word, PackedBytes(count, width));
    at += width;
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
