#include "fl/compression/kernels/codebook.h"

#include <algorithm>

#include "fl/common/base/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fl/compression/kernels/codebook.cpp"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace fl::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;

// Both give back the first index that is left over.
std::size_t FindCodesVectors(std::span<const float> values, std::span<const float> thresholds,
                             std::uint8_t* codes) {
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> di;
  const hn::Rebind<std::uint8_t, FloatTag> d8;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= values.size(); i += lanes) {
    const auto value = hn::LoadU(d, &values[i]);
    auto count = hn::Zero(di);
    for (const float threshold : thresholds) {
      // A comparison that holds is all ones: -1.
      const auto reached = hn::VecFromMask(d, hn::Ge(value, hn::Set(d, threshold)));
      count = hn::Sub(count, hn::BitCast(di, reached));
    }
    hn::StoreU(hn::DemoteTo(d8, count), d8, codes + i);
  }
  return i;
}

std::size_t AddCodebookVectors(const std::uint8_t* codes, std::span<const float> levels,
                               float scale, std::span<float> out) {
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> di;
  const hn::Rebind<std::uint8_t, FloatTag> d8;
  const std::size_t lanes = hn::Lanes(d);
  const auto factor = hn::Set(d, scale);
  std::size_t i = 0;
  for (; i + lanes <= out.size(); i += lanes) {
    const auto code = hn::PromoteTo(di, hn::LoadU(d8, codes + i));
    const auto level = hn::GatherIndex(d, levels.data(), code);
    hn::StoreU(hn::Add(hn::LoadU(d, &out[i]), hn::Mul(factor, level)), d, &out[i]);
  }
  return i;
}

}  // namespace fl::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fl::kernels {
namespace {

HWY_EXPORT(FindCodesVectors);
HWY_EXPORT(AddCodebookVectors);

}  // namespace

void FindCodesReference(std::span<const float> values, std::span<const float> thresholds,
                        std::span<std::uint8_t> codes) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    // By halves, without a branch: there are 2^bits - 1 thresholds.
    std::size_t code = 0;
    for (std::size_t half = (thresholds.size() + 1) / 2; half > 0; half /= 2) {
      if (values[i] >= thresholds[code + half - 1]) code += half;
    }
    codes[i] = static_cast<std::uint8_t>(code);
  }
}

void FindCodes(std::span<const float> values, std::span<const float> thresholds,
               std::span<std::uint8_t> codes) {
  FL_CHECK(values.size() == codes.size(), "a code for each value");
  constexpr std::size_t kFewThresholds = 15;  // Up to here comparing with all of them is faster.
  const std::size_t done =
      thresholds.size() <= kFewThresholds
          ? HWY_DYNAMIC_DISPATCH(FindCodesVectors)(values, thresholds, codes.data())
          : 0;
  FindCodesReference(values.subspan(done), thresholds, codes.subspan(done));
}

void AddCodebookReference(std::span<const std::uint8_t> codes, std::span<const float> levels,
                          float scale, std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); ++i) out[i] += scale * levels[codes[i]];
}

void AddCodebook(std::span<const std::uint8_t> codes, std::span<const float> levels, float scale,
                 std::span<float> out) {
  FL_CHECK(codes.size() == out.size(), "a code for each place");
  const std::size_t done =
      HWY_DYNAMIC_DISPATCH(AddCodebookVectors)(codes.data(), levels, scale, out);
  AddCodebookReference(codes.subspan(done), levels, scale, out.subspan(done));
}

}  // namespace fl::kernels
#endif  // HWY_ONCE
