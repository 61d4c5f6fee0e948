#include "fl/compression/kernels/add_values.h"

#include <cstring>

#include "fl/common/base/check.h"
#include "fl/common/tensor/half.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fl/compression/kernels/add_values.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace fl::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;

// How far ahead sums are fetched: what adds to them is computed, not read, and so too short for the
// processor to see a stream.
constexpr std::size_t kAhead = 1024;

// Calls step(i) for whole vectors and gives back the first index that is left over.
template <typename Step>
HWY_INLINE std::size_t ForVectors(std::size_t count, Step step) {
  const std::size_t lanes = hn::Lanes(FloatTag());
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) step(i);
  return i;
}

template <typename V>
HWY_INLINE void AddScaled(V value, V scale, float* out) {
  const FloatTag d;
  hn::StoreU(hn::Add(hn::LoadU(d, out), hn::Mul(scale, value)), d, out);
}

#if HWY_TARGET == HWY_SCALAR
// Without vectors everything is left to the references: bytes and floats have as many lanes there.
std::size_t AddFloatsVectors(const std::uint8_t*, float, float*, std::size_t) {
  return 0;
}
std::size_t AddHalvesVectors(const std::uint8_t*, float, float*, std::size_t) {
  return 0;
}
std::size_t AddBfloat16sVectors(const std::uint8_t*, float, float*, std::size_t) {
  return 0;
}
#else
std::size_t AddFloatsVectors(const std::uint8_t* values, float scale, float* out,
                             std::size_t count) {
  const FloatTag d;
  const hn::Repartition<std::uint8_t, FloatTag> d8;
  const auto factor = hn::Set(d, scale);
  return ForVectors(count, [&](std::size_t i) HWY_ATTR {
    AddScaled(hn::BitCast(d, hn::LoadU(d8, values + 4 * i)), factor, out + i);
  });
}

std::size_t AddHalvesVectors(const std::uint8_t* values, float scale, float* out,
                             std::size_t count) {
  const FloatTag d;
  const hn::Rebind<hwy::float16_t, FloatTag> d16;
  const hn::Repartition<std::uint8_t, decltype(d16)> d8;
  const auto factor = hn::Set(d, scale);
  return ForVectors(count, [&](std::size_t i) HWY_ATTR {
    AddScaled(hn::PromoteTo(d, hn::BitCast(d16, hn::LoadU(d8, values + 2 * i))), factor, out + i);
  });
}

std::size_t AddBfloat16sVectors(const std::uint8_t* values, float scale, float* out,
                                std::size_t count) {
  const FloatTag d;
  const hn::RebindToUnsigned<FloatTag> du;
  const hn::Rebind<std::uint16_t, FloatTag> d16;
  const hn::Repartition<std::uint8_t, decltype(d16)> d8;
  const auto factor = hn::Set(d, scale);
  return ForVectors(count, [&](std::size_t i) HWY_ATTR {
    const auto bits = hn::PromoteTo(du, hn::BitCast(d16, hn::LoadU(d8, values + 2 * i)));
    AddScaled(hn::BitCast(d, hn::ShiftLeft<16>(bits)), factor, out + i);
  });
}

#endif

std::size_t AddLevelsVectors(const std::uint8_t* codes, const LevelGrid& grid, float scale,
                             float* out, std::size_t count) {
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> di;
  const hn::Rebind<std::uint8_t, FloatTag> d8;
  const auto zero = hn::Set(di, grid.zero);
  const auto step = hn::Set(d, grid.step);
  const auto low = hn::Set(d, grid.low);
  const auto factor = hn::Set(d, scale);
  return ForVectors(count, [&](std::size_t i) HWY_ATTR {
    hwy::Prefetch(out + i + kAhead);
    const auto level = hn::ConvertTo(d, hn::Sub(hn::PromoteTo(di, hn::LoadU(d8, codes + i)), zero));
    AddScaled(hn::Add(hn::Mul(level, step), low), factor, out + i);
  });
}

std::size_t AddLevelsOnGridsVectors(const std::uint8_t* codes, const float* steps,
                                    const float* lows, std::int32_t zero, float scale,
                                    std::span<float> out) {
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> di;
  const hn::Rebind<std::uint8_t, FloatTag> d8;
  const auto zeros = hn::Set(di, zero);
  const auto factor = hn::Set(d, scale);
  return ForVectors(out.size(), [&](std::size_t i) HWY_ATTR {
    const auto level =
        hn::ConvertTo(d, hn::Sub(hn::PromoteTo(di, hn::LoadU(d8, codes + i)), zeros));
    AddScaled(hn::Add(hn::Mul(level, hn::LoadU(d, steps + i)), hn::LoadU(d, lows + i)), factor,
              out.data() + i);
  });
}

// Sixteen bytes at a time are 32 codes: low and high nibbles, interleaved.
std::size_t UnpackNibblesVectors(const std::uint8_t* packed, std::uint8_t* out, std::size_t count) {
#if HWY_TARGET == HWY_SCALAR
  static_cast<void>(packed), static_cast<void>(out), static_cast<void>(count);
  return 0;
#else
  const hn::FixedTag<std::uint8_t, 16> d;
  const auto mask = hn::Set(d, std::uint8_t{15});
  std::size_t i = 0;
  for (; i + 32 <= count; i += 32) {
    const auto bytes = hn::LoadU(d, packed + i / 2);
    const auto low = hn::And(bytes, mask);
    const auto high =
        hn::And(hn::BitCast(d, hn::ShiftRight<4>(hn::BitCast(
                                   hn::Repartition<std::uint16_t, decltype(d)>(), bytes))),
                mask);
    hn::StoreU(hn::InterleaveLower(d, low, high), d, out + i);
    hn::StoreU(hn::InterleaveUpper(d, low, high), d, out + i + 16);
  }
  return i;
#endif
}

std::size_t AddFactorRowVectors(std::span<const float> left, const float* right, std::size_t stride,
                                float scale, std::span<float> out) {
  const FloatTag d;
  const auto factor = hn::Set(d, scale);
  return ForVectors(out.size(), [&](std::size_t i) HWY_ATTR {
    auto sum = hn::Mul(hn::Set(d, left[0]), hn::LoadU(d, right + i));
    for (std::size_t k = 1; k < left.size(); ++k) {
      sum = hn::Add(sum, hn::Mul(hn::Set(d, left[k]), hn::LoadU(d, right + k * stride + i)));
    }
    AddScaled(sum, factor, out.data() + i);
  });
}

}  // namespace fl::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fl::kernels {
namespace {

HWY_EXPORT(AddFloatsVectors);
HWY_EXPORT(AddHalvesVectors);
HWY_EXPORT(AddBfloat16sVectors);
HWY_EXPORT(AddLevelsVectors);
HWY_EXPORT(AddLevelsOnGridsVectors);
HWY_EXPORT(UnpackNibblesVectors);
HWY_EXPORT(AddFactorRowVectors);

const std::uint8_t* Address(ByteSpan bytes) {
  return reinterpret_cast<const std::uint8_t*>(bytes.data());
}

}  // namespace

void AddFloatsReference(ByteSpan values, float scale, std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    float value = 0;
    std::memcpy(&value, values.data() + i * sizeof(float), sizeof(float));
    out[i] += scale * value;
  }
}

void AddFloats(ByteSpan values, float scale, std::span<float> out) {
  FL_CHECK(values.size() == out.size() * sizeof(float), "one value for each place");
  const std::size_t done =
      HWY_DYNAMIC_DISPATCH(AddFloatsVectors)(Address(values), scale, out.data(), out.size());
  AddFloatsReference(values.subspan(done * sizeof(float)), scale, out.subspan(done));
}

void AddHalvesReference(ByteSpan values, float scale, std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, values.data() + i * sizeof(bits), sizeof(bits));
    out[i] += scale * HalfToFloat(bits);
  }
}

void AddHalves(ByteSpan values, float scale, std::span<float> out) {
  FL_CHECK(values.size() == out.size() * 2, "one value for each place");
  const std::size_t done =
      HWY_DYNAMIC_DISPATCH(AddHalvesVectors)(Address(values), scale, out.data(), out.size());
  AddHalvesReference(values.subspan(done * 2), scale, out.subspan(done));
}

void AddBfloat16sReference(ByteSpan values, float scale, std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, values.data() + i * sizeof(bits), sizeof(bits));
    out[i] += scale * Bfloat16ToFloat(bits);
  }
}

void AddBfloat16s(ByteSpan values, float scale, std::span<float> out) {
  FL_CHECK(values.size() == out.size() * 2, "one value for each place");
  const std::size_t done =
      HWY_DYNAMIC_DISPATCH(AddBfloat16sVectors)(Address(values), scale, out.data(), out.size());
  AddBfloat16sReference(values.subspan(done * 2), scale, out.subspan(done));
}

void AddLevelsReference(ByteSpan codes, const LevelGrid& grid, float scale, std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto level = static_cast<float>(std::to_integer<std::int32_t>(codes[i]) - grid.zero);
    out[i] += scale * (level * grid.step + grid.low);
  }
}

void AddLevels(ByteSpan codes, const LevelGrid& grid, float scale, std::span<float> out) {
  FL_CHECK(codes.size() == out.size(), "one code for each place");
  const std::size_t done =
      HWY_DYNAMIC_DISPATCH(AddLevelsVectors)(Address(codes), grid, scale, out.data(), out.size());
  AddLevelsReference(codes.subspan(done), grid, scale, out.subspan(done));
}

void UnpackNibblesReference(ByteSpan packed, std::span<std::uint8_t> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<std::uint8_t>((std::to_integer<unsigned>(packed[i / 2]) >> (4 * (i % 2))) &
                                       15U);
  }
}

void UnpackNibbles(ByteSpan packed, std::span<std::uint8_t> out) {
  FL_CHECK(packed.size() == (out.size() + 1) / 2, "two codes in each byte");
  const std::size_t done =
      HWY_DYNAMIC_DISPATCH(UnpackNibblesVectors)(Address(packed), out.data(), out.size());
  UnpackNibblesReference(packed.subspan(done / 2), out.subspan(done));
}

void AddLevelsOnGridsReference(ByteSpan codes, std::span<const float> steps,
                               std::span<const float> lows, std::int32_t zero, float scale,
                               std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto level = static_cast<float>(std::to_integer<std::int32_t>(codes[i]) - zero);
    out[i] += scale * (level * steps[i] + lows[i]);
  }
}

void AddLevelsOnGrids(ByteSpan codes, std::span<const float> steps, std::span<const float> lows,
                      std::int32_t zero, float scale, std::span<float> out) {
  FL_CHECK(codes.size() == out.size() && steps.size() == out.size() && lows.size() == out.size(),
           "one of each for each place");
  const std::size_t done = HWY_DYNAMIC_DISPATCH(AddLevelsOnGridsVectors)(
      Address(codes), steps.data(), lows.data(), zero, scale, out);
  AddLevelsOnGridsReference(codes.subspan(done), steps.subspan(done), lows.subspan(done), zero,
                            scale, out.subspan(done));
}

void AddFactorRowReference(std::span<const float> left, std::span<const float> right,
                           std::size_t stride, float scale, std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    float sum = left[0] * right[i];
    for (std::size_t k = 1; k < left.size(); ++k) sum += left[k] * right[k * stride + i];
    out[i] += scale * sum;
  }
}

void AddFactorRow(std::span<const float> left, std::span<const float> right, std::size_t stride,
                  float scale, std::span<float> out) {
  FL_CHECK(!left.empty() && right.size() >= (left.size() - 1) * stride + out.size(),
           "each row of the right factor reaches");
  const std::size_t done =
      HWY_DYNAMIC_DISPATCH(AddFactorRowVectors)(left, right.data(), stride, scale, out);
  AddFactorRowReference(left, right.subspan(done), stride, scale, out.subspan(done));
}

}  // namespace fl::kernels
#endif  // HWY_ONCE
