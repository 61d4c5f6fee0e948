#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fl/common/tensor/kernels/axpy.cpp"
#include <hwy/foreach_target.h>  // IWYU pragma: keep: before highway.h.
// The lines above include this file once for each instruction set.
#include <cstddef>

#include <hwy/highway.h>

#include "fl/common/base/check.h"
#include "fl/common/tensor/kernels/axpy.h"

HWY_BEFORE_NAMESPACE();
namespace fl::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

void AxpyFloats(float scale, const float* x, float* out, std::size_t count) {
  const hn::ScalableTag<float> tag;
  const std::size_t lanes = hn::Lanes(tag);
  const auto factor = hn::Set(tag, scale);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto product = hn::Mul(factor, hn::LoadU(tag, x + i));
    hn::StoreU(hn::Add(hn::LoadU(tag, out + i), product), tag, out + i);
  }
  for (; i < count; ++i) out[i] += scale * x[i];
}

}  // namespace fl::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fl::kernels {

HWY_EXPORT(AxpyFloats);

void Axpy(float scale, std::span<const float> x, std::span<float> out) {
  FL_CHECK(x.size() == out.size(), "both spans of Axpy have one length");
  HWY_DYNAMIC_DISPATCH(AxpyFloats)(scale, x.data(), out.data(), out.size());
}

void AxpyReference(float scale, std::span<const float> x, std::span<float> out) {
  FL_CHECK(x.size() == out.size(), "both spans of Axpy have one length");
  for (std::size_t i = 0; i < out.size(); ++i) {
    const float product = scale * x[i];
    out[i] = out[i] + product;
  }
}

}  // namespace fl::kernels
#endif  // HWY_ONCE
