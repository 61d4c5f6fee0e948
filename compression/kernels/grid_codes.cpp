#include "fl/compression/kernels/grid_codes.h"

#include <bit>
#include <cmath>

#include "fl/common/base/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fl/compression/kernels/grid_codes.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace fl::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using IntTag = hn::RebindToSigned<FloatTag>;
using CodeTag = hn::Rebind<std::uint8_t, FloatTag>;

// How far ahead values are fetched: a single stream, which the processor fetches too late.
constexpr std::size_t kAhead = 2048;

// Whether places on a grid may be found by multiplying (Places).
bool IsShort(float step) {
  return (std::bit_cast<std::uint32_t>(step) & 0xFFFFU) == 0 && step >= 0x1p-60F && step <= 1;
}

// PlaceOnGrid for a vector of values, the same bits. Where the step is `kShort`, of eight
// significant bits, a quotient is the product with the reciprocal, corrected once: what is left
// over is exact, and no quotient lies so near to the middle of two floats that the reciprocal's
// error would matter (Markstein 1990, doi:10.1147/rd.341.0111). Values are brought into the grid
// before, whose ends are whole multiples of the step and exact, so that nothing overflows; below
// 2^-102 bits are lost where the code is the same.
template <bool kShort>
class Places {
 public:
  Places(const LevelGrid& grid, unsigned code_max)
      : low_(grid.low),
        step_(grid.step),
        reciprocal_(1 / grid.step),
        zero_(static_cast<float>(grid.zero)),
        last_(static_cast<float>(code_max)) {}
  template <typename V>
  HWY_INLINE V Of(V value) const {
    const FloatTag d;
    const V step = hn::Set(d, step_);
    const V above = hn::Sub(value, hn::Set(d, low_));
    const V zero = hn::Set(d, zero_);
    if constexpr (kShort) {
      const V first = hn::Set(d, -zero_ * step_);
      const V last = hn::Set(d, (last_ - zero_) * step_);
      const V reciprocal = hn::Set(d, reciprocal_);
      const V inside = hn::Min(hn::Max(above, first), last);
      const V quotient = hn::Mul(inside, reciprocal);
      const V rest = hn::NegMulAdd(quotient, step, inside);
      return hn::Add(hn::MulAdd(rest, reciprocal, quotient), zero);
    } else {
      const V place = hn::Add(hn::Div(above, step), zero);
      return hn::Min(hn::Max(place, hn::Zero(d)), hn::Set(d, last_));
    }
  }

 private:
  float low_;
  float step_;
  float reciprocal_;
  float zero_;
  float last_;
};

// All give back the first index that is left over.
template <bool kShort>
HWY_INLINE std::size_t FindNearest(std::span<const float> values, const LevelGrid& grid,
                                   unsigned code_max, std::uint8_t* codes) {
  const FloatTag d;
  const hn::RebindToUnsigned<FloatTag> du;
  const Places<kShort> places(grid, code_max);
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= values.size(); i += lanes) {
    hwy::Prefetch(values.data() + i + kAhead);
    const auto place = places.Of(hn::LoadU(d, &values[i]));
    // As NearestCode; the whole number stands in the lowest bits.
    const auto whole = hn::BitCast(du, hn::Add(place, hn::Set(d, 0x1.8p23F)));
    hn::StoreU(hn::TruncateTo(CodeTag(), whole), CodeTag(), codes + i);
  }
  return i;
}

template <bool kShort>
HWY_INLINE std::size_t FindRandom(std::span<const float> values, const float* uniforms,
                                  const LevelGrid& grid, unsigned code_max, std::uint8_t* codes) {
  const FloatTag d;
  const IntTag di;
  const hn::RebindToUnsigned<FloatTag> du;
  const Places<kShort> places(grid, code_max);
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= values.size(); i += lanes) {
    hwy::Prefetch(values.data() + i + kAhead);
    const auto place = places.Of(hn::LoadU(d, &values[i]));
    const auto below = hn::ConvertTo(di, place);
    const auto rest = hn::Sub(place, hn::ConvertTo(d, below));
    // A comparison that holds is all ones: -1.
    const auto up = hn::BitCast(di, hn::VecFromMask(d, hn::Lt(hn::LoadU(d, uniforms + i), rest)));
    const auto code = hn::BitCast(du, hn::Sub(below, up));
    hn::StoreU(hn::TruncateTo(CodeTag(), code), CodeTag(), codes + i);
  }
  return i;
}

std::size_t FindGridCodesVectors(std::span<const float> values, const LevelGrid& grid,
                                 unsigned code_max, std::uint8_t* codes) {
#if HWY_NATIVE_FMA
  if (IsShort(grid.step)) return FindNearest<true>(values, grid, code_max, codes);
#endif
  return FindNearest<false>(values, grid, code_max, codes);
}

std::size_t FindRandomCodesVectors(std::span<const float> values, const float* uniforms,
                                   const LevelGrid& grid, unsigned code_max, std::uint8_t* codes) {
#if HWY_NATIVE_FMA
  if (IsShort(grid.step)) return FindRandom<true>(values, uniforms, grid, code_max, codes);
#endif
  return FindRandom<false>(values, uniforms, grid, code_max, codes);
}

// Of the values up to the first index that is left over.
std::size_t LargestMagnitudeVectors(std::span<const float> values, float& largest) {
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  auto first = hn::Zero(d);
  auto second = hn::Zero(d);
  auto third = hn::Zero(d);
  auto fourth = hn::Zero(d);
  const auto magnitudes = [&](std::size_t at) HWY_ATTR {
    hwy::Prefetch(values.data() + at + kAhead);
    return hn::Abs(hn::LoadU(d, values.data() + at));
  };
  std::size_t i = 0;
  for (; i + 4 * lanes <= values.size(); i += 4 * lanes) {
    first = hn::Max(first, magnitudes(i));
    second = hn::Max(second, magnitudes(i + lanes));
    third = hn::Max(third, magnitudes(i + 2 * lanes));
    fourth = hn::Max(fourth, magnitudes(i + 3 * lanes));
  }
  const auto all = hn::Max(hn::Max(first, second), hn::Max(third, fourth));
  largest = hn::GetLane(hn::MaxOfLanes(d, all));
  return i;
}

}  // namespace fl::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fl::kernels {
namespace {

HWY_EXPORT(FindGridCodesVectors);
HWY_EXPORT(FindRandomCodesVectors);
HWY_EXPORT(LargestMagnitudeVectors);

}  // namespace

void FindGridCodesReference(std::span<const float> values, const LevelGrid& grid, unsigned code_max,
                            std::span<std::uint8_t> codes) {
  for (std::size_t i = 0; i < values.size(); ++i)
    codes[i] = NearestCode(PlaceOnGrid(values[i], grid, code_max));
}

void FindGridCodes(std::span<const float> values, const LevelGrid& grid, unsigned code_max,
                   std::span<std::uint8_t> codes) {
  FL_CHECK(values.size() == codes.size() && code_max <= 255, "a code for each value");
  const std::size_t done =
      HWY_DYNAMIC_DISPATCH(FindGridCodesVectors)(values, grid, code_max, codes.data());
  FindGridCodesReference(values.subspan(done), grid, code_max, codes.subspan(done));
}

void FindRandomCodesReference(std::span<const float> values, std::span<const float> uniforms,
                              const LevelGrid& grid, unsigned code_max,
                              std::span<std::uint8_t> codes) {
  for (std::size_t i = 0; i < values.size(); ++i)
    codes[i] = RandomCode(PlaceOnGrid(values[i], grid, code_max), uniforms[i]);
}

void FindRandomCodes(std::span<const float> values, std::span<const float> uniforms,
                     const LevelGrid& grid, unsigned code_max, std::span<std::uint8_t> codes) {
  FL_CHECK(values.size() == codes.size() && uniforms.size() == codes.size() && code_max <= 255,
           "a code and a random number for each value");
  const std::size_t done = HWY_DYNAMIC_DISPATCH(FindRandomCodesVectors)(
      values, uniforms.data(), grid, code_max, codes.data());
  FindRandomCodesReference(values.subspan(done), uniforms.subspan(done), grid, code_max,
                           codes.subspan(done));
}

float LargestMagnitudeReference(std::span<const float> values) {
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::fabs(value));
  return largest;
}

float LargestMagnitude(std::span<const float> values) {
  float largest = 0;
  const std::size_t done = HWY_DYNAMIC_DISPATCH(LargestMagnitudeVectors)(values, largest);
  return std::max(largest, LargestMagnitudeReference(values.subspan(done)));
}

}  // namespace fl::kernels
#endif  // HWY_ONCE
