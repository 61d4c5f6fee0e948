#include "fl/compression/kernels/grid_codes.h"

#include <array>
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
constexpr std::size_t kAhead = 1024;

// PlaceOnGrid for a vector of values, in the same order of operations.
class Places {
 public:
  Places(const LevelGrid& grid, unsigned code_max)
      : low_(grid.low),
        step_(grid.step),
        zero_(static_cast<float>(grid.zero)),
        last_(static_cast<float>(code_max)) {}
  template <typename V>
  HWY_INLINE V Of(V value) const {
    const FloatTag d;
    const V place =
        hn::Add(hn::Div(hn::Sub(value, hn::Set(d, low_)), hn::Set(d, step_)), hn::Set(d, zero_));
    return hn::Min(hn::Max(place, hn::Zero(d)), hn::Set(d, last_));
  }

 private:
  float low_;
  float step_;
  float zero_;
  float last_;
};

// All give back the first index that is left over.
std::size_t FindGridCodesVectors(std::span<const float> values, const LevelGrid& grid,
                                 unsigned code_max, std::uint8_t* codes) {
  const FloatTag d;
  const Places places(grid, code_max);
  const std::size_t lanes = hn::Lanes(d);
  const auto whole = hn::Set(d, 0x1.8p23F);
  std::size_t i = 0;
  for (; i + lanes <= values.size(); i += lanes) {
    hwy::Prefetch(values.data() + i + kAhead);
    const auto place = places.Of(hn::LoadU(d, &values[i]));
    const auto code = hn::ConvertTo(IntTag(), hn::Sub(hn::Add(place, whole), whole));
    hn::StoreU(hn::DemoteTo(CodeTag(), code), CodeTag(), codes + i);
  }
  return i;
}

std::size_t FindRandomCodesVectors(std::span<const float> values, const float* uniforms,
                                   const LevelGrid& grid, unsigned code_max, std::uint8_t* codes) {
  const FloatTag d;
  const IntTag di;
  const Places places(grid, code_max);
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= values.size(); i += lanes) {
    hwy::Prefetch(values.data() + i + kAhead);
    const auto place = places.Of(hn::LoadU(d, &values[i]));
    const auto below = hn::ConvertTo(di, place);
    const auto rest = hn::Sub(place, hn::ConvertTo(d, below));
    // A comparison that holds is all ones: -1.
    const auto up = hn::BitCast(di, hn::VecFromMask(d, hn::Lt(hn::LoadU(d, uniforms + i), rest)));
    hn::StoreU(hn::DemoteTo(CodeTag(), hn::Sub(below, up)), CodeTag(), codes + i);
  }
  return i;
}

// Writes one maximum for each lane to `maxima`, lanes <= 64.
std::size_t LargestMagnitudeVectors(std::span<const float> values, float* maxima) {
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  auto first = hn::Zero(d);
  auto second = hn::Zero(d);
  std::size_t i = 0;
  for (; i + 2 * lanes <= values.size(); i += 2 * lanes) {
    hwy::Prefetch(values.data() + i + kAhead);
    hwy::Prefetch(values.data() + i + lanes + kAhead);
    first = hn::Max(first, hn::Abs(hn::LoadU(d, &values[i])));
    second = hn::Max(second, hn::Abs(hn::LoadU(d, &values[i + lanes])));
  }
  hn::StoreU(hn::Max(first, second), d, maxima);
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
  std::array<float, 64> maxima{};
  const std::size_t done = HWY_DYNAMIC_DISPATCH(LargestMagnitudeVectors)(values, maxima.data());
  return std::max(LargestMagnitudeReference(maxima),
                  LargestMagnitudeReference(values.subspan(done)));
}

}  // namespace fl::kernels
#endif  // HWY_ONCE
