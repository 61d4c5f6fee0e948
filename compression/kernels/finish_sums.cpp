#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fl/compression/kernels/finish_sums.cpp"
#include <hwy/foreach_target.h>  // IWYU pragma: keep: before highway.h.
// The lines above include this file once for each instruction set.
#include <cstddef>

#include <hwy/highway.h>

#include "fl/common/base/check.h"
#include "fl/compression/kernels/finish_sums.h"

HWY_BEFORE_NAMESPACE();
namespace fl::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

void AddWidened(const float* values, double* sums, std::size_t count) {
  const hn::ScalableTag<double> wide;
  const hn::Rebind<float, decltype(wide)> narrow;
  const std::size_t lanes = hn::Lanes(wide);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto value = hn::PromoteTo(wide, hn::LoadU(narrow, values + i));
    hn::StoreU(hn::Add(hn::LoadU(wide, sums + i), value), wide, sums + i);
  }
  for (; i < count; ++i) sums[i] += double{values[i]};
}

void DivideAndNarrow(const double* sums, double divisor, float* out, std::size_t count) {
  std::size_t i = 0;
#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
  // Without vectors Highway would make what is too large the largest float, not infinity.
  const hn::ScalableTag<double> wide;
  const hn::Rebind<float, decltype(wide)> narrow;
  const std::size_t lanes = hn::Lanes(wide);
  const auto by = hn::Set(wide, divisor);
  const auto zero = hn::Zero(narrow);
  for (; i + lanes <= count; i += lanes) {
    const auto quotient = hn::Div(hn::LoadU(wide, sums + i), by);
    hn::StoreU(hn::Add(zero, hn::DemoteTo(narrow, quotient)), narrow, out + i);
  }
#endif
  for (; i < count; ++i) out[i] = 0.0F + static_cast<float>(sums[i] / divisor);
}

}  // namespace fl::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fl::kernels {

HWY_EXPORT(AddWidened);
HWY_EXPORT(DivideAndNarrow);

void AddToSums(std::span<const float> values, std::span<double> sums) {
  FL_CHECK(values.size() == sums.size(), "both spans of AddToSums have one length");
  HWY_DYNAMIC_DISPATCH(AddWidened)(values.data(), sums.data(), sums.size());
}

void DivideSums(std::span<const double> sums, double divisor, std::span<float> out) {
  FL_CHECK(sums.size() == out.size(), "both spans of DivideSums have one length");
  HWY_DYNAMIC_DISPATCH(DivideAndNarrow)(sums.data(), divisor, out.data(), out.size());
}

void AddToSumsReference(std::span<const float> values, std::span<double> sums) {
  FL_CHECK(values.size() == sums.size(), "both spans of AddToSums have one length");
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += double{values[i]};
}

void DivideSumsReference(std::span<const double> sums, double divisor, std::span<float> out) {
  FL_CHECK(sums.size() == out.size(), "both spans of DivideSums have one length");
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = 0.0F + static_cast<float>(sums[i] / divisor);
  }
}

}  // namespace fl::kernels
#endif  // HWY_ONCE
