#include "fl/compression/kernels/find_levels.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "fl/common/base/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fl/compression/kernels/find_levels.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace fl::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using IntTag = hn::RebindToSigned<FloatTag>;
using LevelTag = hn::Rebind<std::int16_t, FloatTag>;
using FloatVector = hn::Vec<FloatTag>;

// How far ahead values are fetched: a single stream, which the processor fetches too late.
constexpr std::size_t kAhead = 1024;

// The magnitudes of values in steps.
class Places {
 public:
  explicit Places(const LevelBins& bins)
      : step_(bins.step), most_(static_cast<float>(bins.level_max)) {}
  HWY_INLINE FloatVector Of(const float* values) const {
    const FloatTag d;
    return hn::Min(hn::Div(hn::Abs(hn::LoadU(d, values)), hn::Set(d, step_)), hn::Set(d, most_));
  }

 private:
  float step_;
  float most_;
};

// Writes whole magnitudes with their values' signs.
HWY_INLINE void StoreLevels(FloatVector magnitudes, const float* values, std::int16_t* levels) {
  const FloatTag d;
  const auto signed_levels = hn::CopySign(magnitudes, hn::LoadU(d, values));
  const LevelTag narrow;
  hn::StoreU(hn::DemoteTo(narrow, hn::ConvertTo(IntTag(), signed_levels)), narrow, levels);
}

// All give back the first index that is left over.
std::size_t FindNearestLevelsVectors(std::span<const float> values, const LevelBins& bins,
                                     std::int16_t* levels) {
  const FloatTag d;
  const Places places(bins);
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= values.size(); i += lanes) {
    hwy::Prefetch(values.data() + i + kAhead);
    const auto place = places.Of(&values[i]);
    const auto below = hn::Trunc(place);
    const auto up = hn::Gt(hn::Sub(place, below), hn::Set(d, 0.5F));
    const auto one = hn::IfThenElseZero(up, hn::Set(d, 1.0F));
    StoreLevels(hn::Add(below, one), &values[i], levels + i);
  }
  return i;
}

std::size_t FindRandomLevelsVectors(std::span<const float> values, const float* uniforms,
                                    const LevelBins& bins, std::int16_t* levels) {
  const FloatTag d;
  const Places places(bins);
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= values.size(); i += lanes) {
    const auto place = places.Of(&values[i]);
    const auto below = hn::Trunc(place);
    const auto up = hn::Gt(hn::Sub(place, below), hn::LoadU(d, uniforms + i));
    const auto one = hn::IfThenElseZero(up, hn::Set(d, 1.0F));
    StoreLevels(hn::Add(below, one), &values[i], levels + i);
  }
  return i;
}

std::size_t FindDeadZoneLevelsVectors(std::span<const float> values, const LevelBins& bins,
                                      float zero, std::int16_t* levels) {
  const FloatTag d;
  const Places places(bins);
  const std::size_t lanes = hn::Lanes(d);
  const auto half = hn::Set(d, 0.5F);
  std::size_t i = 0;
  for (; i + lanes <= values.size(); i += lanes) {
    hwy::Prefetch(values.data() + i + kAhead);
    const auto place = places.Of(&values[i]);
    const auto nearest = hn::Max(hn::Trunc(hn::Add(place, half)), hn::Set(d, 1.0F));
    const auto level = hn::IfThenElseZero(hn::Ge(place, hn::Set(d, zero)), nearest);
    StoreLevels(level, &values[i], levels + i);
  }
  return i;
}

// Adds up all lanes.
HWY_INLINE std::int64_t Total(hn::Vec<IntTag> sum) {
  HWY_ALIGN std::int32_t lanes[HWY_MAX_BYTES / sizeof(std::int32_t)];
  hn::Store(sum, IntTag(), lanes);
  std::int64_t total = 0;
  for (std::size_t j = 0; j < hn::Lanes(IntTag()); ++j) total += lanes[j];
  return total;
}

std::size_t AddLevelOffsetsVectors(std::span<const float> values, const std::int16_t* levels,
                                   const LevelBins& bins, LevelOffsets& offsets) {
  constexpr std::size_t kVectors = 128;  // An offset is up to 2^23, a lane's sum below 2^31.
  const FloatTag d;
  const IntTag di;
  const Places places(bins);
  const std::size_t lanes = hn::Lanes(d);
  const auto one = hn::Set(di, 1);
  std::size_t i = 0;
  while (i + lanes <= values.size()) {
    auto first = hn::Zero(di);
    auto rest = hn::Zero(di);
    for (std::size_t n = 0; n < kVectors && i + lanes <= values.size(); ++n, i += lanes) {
      const auto level = hn::Abs(hn::PromoteTo(di, hn::LoadU(LevelTag(), levels + i)));
      const auto above = hn::Sub(places.Of(&values[i]), hn::ConvertTo(d, level));
      const auto offset = hn::ConvertTo(di, hn::Mul(above, hn::Set(d, 0x1p24F)));
      const auto is_first = hn::Eq(level, one);
      const auto is_rest = hn::Gt(level, one);
      first = hn::Add(first, hn::IfThenElseZero(is_first, offset));
      rest = hn::Add(rest, hn::IfThenElseZero(is_rest, offset));
      offsets.first.count += hn::CountTrue(di, is_first);
      offsets.rest.count += hn::CountTrue(di, is_rest);
    }
    offsets.first.sum += Total(first);
    offsets.rest.sum += Total(rest);
  }
  return i;
}

}  // namespace fl::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fl::kernels {
namespace {

HWY_EXPORT(FindNearestLevelsVectors);
HWY_EXPORT(FindRandomLevelsVectors);
HWY_EXPORT(FindDeadZoneLevelsVectors);
HWY_EXPORT(AddLevelOffsetsVectors);

float PlaceOf(float value, const LevelBins& bins) {
  return std::min(std::fabs(value) / bins.step, static_cast<float>(bins.level_max));
}

std::int16_t WithSign(std::int32_t magnitude, float value) {
  return static_cast<std::int16_t>(value < 0 ? -magnitude : magnitude);
}

// The level before the place, or the next one where more than `turn` lies between.
std::int16_t LevelAt(float value, const LevelBins& bins, float turn) {
  const float place = PlaceOf(value, bins);
  const auto below = static_cast<std::int32_t>(place);
  return WithSign(below + (place - static_cast<float>(below) > turn ? 1 : 0), value);
}

}  // namespace

void FindNearestLevelsReference(std::span<const float> values, const LevelBins& bins,
                                std::span<std::int16_t> levels) {
  for (std::size_t i = 0; i < values.size(); ++i) levels[i] = LevelAt(values[i], bins, 0.5F);
}

void FindNearestLevels(std::span<const float> values, const LevelBins& bins,
                       std::span<std::int16_t> levels) {
  FL_CHECK(values.size() == levels.size(), "a level for each value");
  const std::size_t done =
      HWY_DYNAMIC_DISPATCH(FindNearestLevelsVectors)(values, bins, levels.data());
  FindNearestLevelsReference(values.subspan(done), bins, levels.subspan(done));
}

void FindRandomLevelsReference(std::span<const float> values, std::span<const float> uniforms,
                               const LevelBins& bins, std::span<std::int16_t> levels) {
  for (std::size_t i = 0; i < values.size(); ++i) levels[i] = LevelAt(values[i], bins, uniforms[i]);
}

void FindRandomLevels(std::span<const float> values, std::span<const float> uniforms,
                      const LevelBins& bins, std::span<std::int16_t> levels) {
  FL_CHECK(values.size() == levels.size() && uniforms.size() == levels.size(),
           "a level and a random number for each value");
  const std::size_t done =
      HWY_DYNAMIC_DISPATCH(FindRandomLevelsVectors)(values, uniforms.data(), bins, levels.data());
  FindRandomLevelsReference(values.subspan(done), uniforms.subspan(done), bins,
                            levels.subspan(done));
}

void FindDeadZoneLevelsReference(std::span<const float> values, const LevelBins& bins, float zero,
                                 std::span<std::int16_t> levels) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float place = PlaceOf(values[i], bins);
    const float above = place + 0.5F;  // In fp32, as the vectors.
    const auto nearest = std::max(static_cast<std::int32_t>(above), 1);
    levels[i] = place < zero ? std::int16_t{0} : WithSign(nearest, values[i]);
  }
}

void FindDeadZoneLevels(std::span<const float> values, const LevelBins& bins, float zero,
                        std::span<std::int16_t> levels) {
  FL_CHECK(values.size() == levels.size(), "a level for each value");
  const std::size_t done =
      HWY_DYNAMIC_DISPATCH(FindDeadZoneLevelsVectors)(values, bins, zero, levels.data());
  FindDeadZoneLevelsReference(values.subspan(done), bins, zero, levels.subspan(done));
}

void AddLevelOffsetsReference(std::span<const float> values, std::span<const std::int16_t> levels,
                              const LevelBins& bins, LevelOffsets& offsets) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (levels[i] == 0) continue;
    const int magnitude = std::abs(levels[i]);
    const float above = PlaceOf(values[i], bins) - static_cast<float>(magnitude);
    LevelOffset& offset = magnitude == 1 ? offsets.first : offsets.rest;
    offset.sum += static_cast<std::int64_t>(above * 0x1p24F);
    ++offset.count;
  }
}

void AddLevelOffsets(std::span<const float> values, std::span<const std::int16_t> levels,
                     const LevelBins& bins, LevelOffsets& offsets) {
  FL_CHECK(values.size() == levels.size(), "a level for each value");
  const std::size_t done =
      HWY_DYNAMIC_DISPATCH(AddLevelOffsetsVectors)(values, levels.data(), bins, offsets);
  AddLevelOffsetsReference(values.subspan(done), levels.subspan(done), bins, offsets);
}

}  // namespace fl::kernels
#endif  // HWY_ONCE
