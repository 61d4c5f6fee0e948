#include "fl/compression/kernels/unpack_codes.h"

#include <algorithm>
#include <array>

#include "fl/common/base/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fl/compression/kernels/unpack_codes.cpp"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace fl::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Sixteen bytes from each of the places where a pair of groups begins.
#if HWY_ARCH_X86 && HWY_MAX_BYTES >= 32
constexpr std::size_t kVector = 32;
using ByteTag = hn::FixedTag<std::uint8_t, kVector>;
HWY_INLINE hn::Vec<ByteTag> LoadPairs(const std::uint8_t* bytes, unsigned width) {
  const hn::FixedTag<std::uint8_t, 16> d16;
  return hn::Combine(ByteTag(), hn::LoadU(d16, bytes + 2 * width), hn::LoadU(d16, bytes));
}
#elif HWY_TARGET != HWY_SCALAR
constexpr std::size_t kVector = 16;
using ByteTag = hn::FixedTag<std::uint8_t, kVector>;
HWY_INLINE hn::Vec<ByteTag> LoadPairs(const std::uint8_t* bytes, unsigned /*width*/) {
  return hn::LoadU(ByteTag(), bytes);
}
#endif

// Eight codes of `width` bits are `width` bytes. Each such group goes to a word; there the
// halves, the quarters and the eighths move apart, so many bits at a time, until each code has a
// byte. Gives back the first index that is left over.
std::size_t UnpackWidthVectors(ByteSpan packed, unsigned width, std::span<std::uint8_t> out) {
#if HWY_TARGET == HWY_SCALAR
  static_cast<void>(packed), static_cast<void>(width), static_cast<void>(out);
  return 0;
#else
  const ByteTag d8;
  const hn::Repartition<std::uint64_t, ByteTag> d64;
  std::array<std::uint8_t, kVector> places{};
  for (unsigned i = 0; i < 16; ++i)
    places[i] = static_cast<std::uint8_t>(i % 8 < width ? i / 8 * width + i % 8 : 0x80U);
  std::copy_n(places.begin(), kVector - 16, places.begin() + kVector - 16);  // Each pair alike.
  const auto table = hn::LoadU(d8, places.data());
  const auto halves = hn::Set(d64, (std::uint64_t{1} << (4 * width)) - 1);
  const std::uint64_t quarter = ((std::uint64_t{1} << (2 * width)) - 1) * 0x0000000100000001U;
  const std::uint64_t eighth = ((std::uint64_t{1} << width) - 1) * 0x0001000100010001U;
  const auto quarters = hn::Set(d64, quarter);
  const auto upper_quarters = hn::Set(d64, quarter << (2 * width));
  const auto eighths = hn::Set(d64, eighth);
  const auto upper_eighths = hn::Set(d64, eighth << width);
  const int apart = static_cast<int>(width);
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(packed.data());
  std::size_t i = 0;
  const std::size_t step = kVector / 8 * width;
  const std::size_t reach = step - std::size_t{2} * width + 16;
  for (std::size_t at = 0; i + kVector <= out.size() && at + reach <= packed.size(); i += kVector) {
    auto word = hn::BitCast(d64, hn::TableLookupBytesOr0(LoadPairs(bytes + at, width), table));
    word =
        hn::Or(hn::And(word, halves), hn::ShiftLeftSame(hn::AndNot(halves, word), 32 - 4 * apart));
    word = hn::Or(hn::And(word, quarters),
                  hn::ShiftLeftSame(hn::And(word, upper_quarters), 16 - 2 * apart));
    word =
        hn::Or(hn::And(word, eighths), hn::ShiftLeftSame(hn::And(word, upper_eighths), 8 - apart));
    hn::StoreU(hn::BitCast(d8, word), d8, &out[i]);
    at += step;
  }
  return i;
#endif
}

}  // namespace fl::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fl::kernels {
namespace {

HWY_EXPORT(UnpackWidthVectors);

}  // namespace

void UnpackWidthReference(ByteSpan packed, unsigned width, std::span<std::uint8_t> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::size_t bit = i * width;
    unsigned word = std::to_integer<unsigned>(packed[bit / 8]);
    if (bit % 8 + width > 8) word |= std::to_integer<unsigned>(packed[bit / 8 + 1]) << 8;
    out[i] = static_cast<std::uint8_t>((word >> (bit % 8)) & ((1U << width) - 1));
  }
}

void UnpackWidth(ByteSpan packed, unsigned width, std::span<std::uint8_t> out) {
  FL_CHECK(width >= 1 && width <= 7 && packed.size() >= (out.size() * width + 7) / 8,
           "the packed bytes hold all codes");
  const std::size_t done = HWY_DYNAMIC_DISPATCH(UnpackWidthVectors)(packed, width, out);
  UnpackWidthReference(packed.subspan(done / 8 * width), width, out.subspan(done));
}

}  // namespace fl::kernels
#endif  // HWY_ONCE
