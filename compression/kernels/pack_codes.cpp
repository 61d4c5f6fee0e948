#include "fl/compression/kernels/pack_codes.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "fl/common/base/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fl/compression/kernels/pack_codes.cpp"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

#ifndef FL_COMPRESSION_KERNELS_NARROWING
#define FL_COMPRESSION_KERNELS_NARROWING
namespace fl::kernels {

// Eight codes of `width` bits are `width` bytes. In a word of eight codes, a byte each, eighths,
// quarters and halves move together, so many bits at a time.
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

}  // namespace fl::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace fl::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET != HWY_SCALAR
#if HWY_ARCH_X86
using ByteTag = hn::ScalableTag<std::uint8_t>;
#else
using ByteTag = hn::FixedTag<std::uint8_t, 16>;
#endif

// Sixteen codes give 2 * width bytes, written as sixteen: what comes next overwrites the rest.
template <class D>
HWY_INLINE void StorePairs(D d, hn::Vec<D> pairs, unsigned width, std::uint8_t* bytes) {
  if constexpr (hn::MaxLanes(D()) > 16) {
    const hn::Half<D> half;
    StorePairs(half, hn::LowerHalf(half, pairs), width, bytes);
    StorePairs(half, hn::UpperHalf(half, pairs), width, bytes + hn::MaxLanes(half) / 8 * width);
  } else {
    hn::StoreU(pairs, d, bytes);
  }
}
#endif

// Gives back the first index that is left over, a multiple of eight.
std::size_t PackWidthVectors(std::span<const std::uint8_t> codes, unsigned width,
                             std::span<std::byte> packed) {
#if HWY_TARGET == HWY_SCALAR
  static_cast<void>(codes), static_cast<void>(width), static_cast<void>(packed);
  return 0;
#else
  const ByteTag d8;
  const hn::Repartition<std::uint64_t, ByteTag> d64;
  constexpr std::size_t kVector = hn::MaxLanes(ByteTag());
  std::array<std::uint8_t, 16> places;  // Of the bytes of a pair of words.
  places.fill(0x80);
  for (unsigned i = 0; i < width; ++i) {
    places[i] = static_cast<std::uint8_t>(i);
    places[width + i] = static_cast<std::uint8_t>(8 + i);
  }
  const auto table = hn::LoadDup128(d8, places.data());
  const Narrowing narrowing(width);
  const auto halves = hn::Set(d64, narrowing.halves);
  const auto upper_halves = hn::Set(d64, narrowing.halves << (4 * width));
  const auto quarters = hn::Set(d64, narrowing.quarters);
  const auto upper_quarters = hn::Set(d64, narrowing.quarters << (2 * width));
  const auto eighths = hn::Set(d64, narrowing.eighths);
  const auto upper_eighths = hn::Set(d64, narrowing.eighths << width);
  const int apart = static_cast<int>(width);
  auto* bytes = reinterpret_cast<std::uint8_t*>(packed.data());
  std::size_t i = 0;
  const std::size_t step = kVector / 8 * width;
  const std::size_t reach = step - std::size_t{2} * width + 16;
  for (std::size_t at = 0; i + kVector <= codes.size() && at + reach <= packed.size();
       i += kVector, at += step) {
    auto word = hn::BitCast(d64, hn::LoadU(d8, &codes[i]));
    word =
        hn::Or(hn::And(word, eighths), hn::And(hn::ShiftRightSame(word, 8 - apart), upper_eighths));
    word = hn::Or(hn::And(word, quarters),
                  hn::And(hn::ShiftRightSame(word, 16 - 2 * apart), upper_quarters));
    word = hn::Or(hn::And(word, halves),
                  hn::And(hn::ShiftRightSame(word, 32 - 4 * apart), upper_halves));
    StorePairs(d8, hn::TableLookupBytesOr0(hn::BitCast(d8, word), table), width, bytes + at);
  }
  return i;
#endif
}

}  // namespace fl::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fl::kernels {
namespace {

HWY_EXPORT(PackWidthVectors);

}  // namespace

void PackWidthReference(std::span<const std::uint8_t> codes, unsigned width,
                        std::span<std::byte> packed) {
  constexpr std::size_t kGroup = 8;
  const Narrowing narrowing(width);
  for (std::size_t i = 0; i < codes.size(); i += kGroup) {
    const std::size_t count = std::min(kGroup, codes.size() - i);
    std::uint64_t word = 0;
    std::memcpy(&word, codes.data() + i, count);
    word = narrowing.FromBytes(word);
    std::memcpy(packed.data() + i / kGroup * width, &word, (count * width + 7) / 8);
  }
}

void PackWidth(std::span<const std::uint8_t> codes, unsigned width, std::span<std::byte> packed) {
  FL_CHECK(width >= 1 && width <= 7 && packed.size() == (codes.size() * width + 7) / 8,
           "the packed bytes are those of all codes");
  const std::size_t done = HWY_DYNAMIC_DISPATCH(PackWidthVectors)(codes, width, packed);
  PackWidthReference(codes.subspan(done), width, packed.subspan(done / 8 * width));
}

}  // namespace fl::kernels
#endif  // HWY_ONCE
