#include "fl/compression/kernels/narrow_values.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "fl/common/base/check.h"
#include "fl/common/tensor/half.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fl/compression/kernels/narrow_values.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace fl::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR
// Without vectors everything is left to the references.
std::size_t NarrowToHalvesVectors(std::span<const float>, std::uint8_t*) {
  return 0;
}
std::size_t NarrowToBfloat16sVectors(std::span<const float>, std::uint8_t*) {
  return 0;
}
#else
using FloatTag = hn::ScalableTag<float>;
using BitsTag = hn::RebindToUnsigned<FloatTag>;
using Bits = hn::Vec<BitsTag>;

// The upper bits of each, as many as are left without the lower `kCount`: to nearest, ties to even.
template <int kCount>
HWY_INLINE Bits RoundOff(Bits value) {
  const BitsTag d;
  const Bits odd = hn::And(hn::ShiftRight<kCount>(value), hn::Set(d, 1));
  const Bits half_less_one = hn::Set(d, (1U << (kCount - 1)) - 1);
  return hn::ShiftRight<kCount>(hn::Add(value, hn::Add(half_less_one, odd)));
}

// How far ahead values are fetched: a single stream, which the processor fetches too late.
constexpr std::size_t kAhead = 2048;

// The lower sixteen bits of each, the others being zero.
HWY_INLINE auto LowerBits(Bits value) {
  const hn::Rebind<std::uint16_t, FloatTag> d16;
  return hn::DemoteTo(d16, hn::BitCast(hn::RebindToSigned<FloatTag>(), value));
}

// Writes narrow(value) of whole vectors of clamped values and gives back the first index left over.
template <typename Narrow>
HWY_INLINE std::size_t NarrowVectors(std::span<const float> values, float largest,
                                     std::uint8_t* out, Narrow narrow) {
  const FloatTag d;
  const hn::Rebind<std::uint16_t, FloatTag> d16;
  const hn::Repartition<std::uint8_t, decltype(d16)> d8;
  const std::size_t lanes = hn::Lanes(d);
  const auto high = hn::Set(d, largest);
  const auto low = hn::Set(d, -largest);
  std::size_t i = 0;
  for (; i + lanes <= values.size(); i += lanes) {
    hwy::Prefetch(values.data() + i + kAhead);
    const auto value = hn::Min(hn::Max(hn::LoadU(d, &values[i]), low), high);
    hn::StoreU(hn::BitCast(d8, narrow(value)), d8, out + 2 * i);
  }
  return i;
}

#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2 && !defined(HWY_DISABLE_F16C)
// The processor rounds in the same way.
std::size_t NarrowToHalvesVectors(std::span<const float> values, std::uint8_t* out) {
  const hn::Rebind<hwy::float16_t, FloatTag> dh;
  const hn::Rebind<std::uint16_t, FloatTag> d16;
  return NarrowVectors(values, 65504.0F, out, [&](auto value) HWY_ATTR {
    return hn::BitCast(d16, hn::DemoteTo(dh, value));
  });
}
#else
std::size_t NarrowToHalvesVectors(std::span<const float> values, std::uint8_t* out) {
  const FloatTag d;
  const BitsTag du;
  return NarrowVectors(values, 65504.0F, out, [&](auto value) HWY_ATTR {
    const Bits bits = hn::BitCast(du, value);
    const Bits magnitude = hn::And(bits, hn::Set(du, 0x7FFFFFFFU));
    const Bits sign = hn::ShiftRight<16>(hn::AndNot(hn::Set(du, 0x7FFFFFFFU), bits));
    const Bits normal = RoundOff<13>(hn::Sub(magnitude, hn::Set(du, 112U << 23)));
    // Below 2^-14 halves are multiples of 2^-24, as floats are from 1/2 to 1: the addition rounds.
    const auto half = hn::Set(d, 0.5F);
    const Bits subnormal =
        hn::Sub(hn::BitCast(du, hn::Add(hn::BitCast(d, magnitude), half)), hn::BitCast(du, half));
    const auto small = hn::Lt(hn::BitCast(d, magnitude), hn::Set(d, 0x1p-14F));
    return LowerBits(hn::Or(sign, hn::IfThenElse(hn::RebindMask(du, small), subnormal, normal)));
  });
}
#endif

std::size_t NarrowToBfloat16sVectors(std::span<const float> values, std::uint8_t* out) {
  return NarrowVectors(values, 0x1.FEp127F, out, [](auto value) HWY_ATTR {
    return LowerBits(RoundOff<16>(hn::BitCast(BitsTag(), value)));
  });
}
#endif

}  // namespace fl::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fl::kernels {
namespace {

HWY_EXPORT(NarrowToHalvesVectors);
HWY_EXPORT(NarrowToBfloat16sVectors);

std::uint8_t* Address(std::span<std::byte> bytes) {
  return reinterpret_cast<std::uint8_t*>(bytes.data());
}

template <typename Narrow>
void NarrowEach(std::span<const float> values, float largest, std::span<std::byte> out,
                Narrow narrow) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint16_t bits = narrow(std::clamp(values[i], -largest, largest));
    std::memcpy(out.data() + 2 * i, &bits, sizeof(bits));
  }
}

}  // namespace

void NarrowToHalvesReference(std::span<const float> values, std::span<std::byte> out) {
  NarrowEach(values, 65504.0F, out, FloatToHalf);
}

void NarrowToHalves(std::span<const float> values, std::span<std::byte> out) {
  FL_CHECK(out.size() == 2 * values.size(), "two bytes for each value");
  const std::size_t done = HWY_DYNAMIC_DISPATCH(NarrowToHalvesVectors)(values, Address(out));
  NarrowToHalvesReference(values.subspan(done), out.subspan(2 * done));
}

void NarrowToBfloat16sReference(std::span<const float> values, std::span<std::byte> out) {
  NarrowEach(values, 0x1.FEp127F, out, FloatToBfloat16);
}

void NarrowToBfloat16s(std::span<const float> values, std::span<std::byte> out) {
  FL_CHECK(out.size() == 2 * values.size(), "two bytes for each value");
  const std::size_t done = HWY_DYNAMIC_DISPATCH(NarrowToBfloat16sVectors)(values, Address(out));
  NarrowToBfloat16sReference(values.subspan(done), out.subspan(2 * done));
}

}  // namespace fl::kernels
#endif  // HWY_ONCE
