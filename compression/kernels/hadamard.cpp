#include "fl/compression/kernels/hadamard.h"

#include <bit>
#include <cmath>

#include "fl/common/base/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fl/compression/kernels/hadamard.cpp"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace fl::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR
// Without vectors everything is left to the references.
bool RotateForwardVectors(std::span<float>, const std::uint32_t*, float) {
  return false;
}
bool RotateBackVectors(std::span<float>, const std::uint32_t*, float) {
  return false;
}
#else

using Tag = hn::CappedTag<float, 16>;
using V = hn::Vec<Tag>;

// The signs of the lanes of the vector that begins at value i, a multiple of the lanes.
HWY_INLINE V ChangeSigns(V value, const std::uint32_t* signs, std::size_t i) {
  const Tag d;
  const hn::RebindToUnsigned<Tag> du;
  const auto bits = hn::Set(du, signs[i / 32] >> (i % 32));
  const auto to_top = hn::Sub(hn::Set(du, 31), hn::Iota(du, 0));
  const auto top = hn::And(hn::Shl(bits, to_top), hn::Set(du, 0x80000000U));
  return hn::Xor(value, hn::BitCast(d, top));
}

// One butterfly between lanes: `swapped` holds each lane's partner, and the later of a pair
// subtracts itself: partner + (-own).
HWY_INLINE V AddPartners(V value, V swapped, std::uint32_t stride) {
  const Tag d;
  const hn::RebindToUnsigned<Tag> du;
  const auto is_later = hn::Ne(hn::And(hn::Iota(du, 0), hn::Set(du, stride)), hn::Zero(du));
  const auto flip = hn::IfThenElseZero(is_later, hn::Set(du, 0x80000000U));
  return hn::Add(swapped, hn::Xor(value, hn::BitCast(d, flip)));
}

// The strides below the number of lanes.
template <class D>
HWY_INLINE V InsideVector(D d, V value) {
  value = AddPartners(value, hn::Shuffle2301(value), 1);
  value = AddPartners(value, hn::Shuffle1032(value), 2);
  if constexpr (hn::MaxLanes(D()) >= 8) {
    value = AddPartners(value, hn::SwapAdjacentBlocks(value), 4);
  }
  if constexpr (hn::MaxLanes(D()) >= 16) {
    value = AddPartners(value, hn::ConcatLowerUpper(d, value, value), 8);
  }
  return value;
}

// The strides h and 2 h at once, for the vectors at begin + [0, h).
HWY_INLINE void TwoStrides(float* begin, std::size_t h, std::size_t lanes) {
  const Tag d;
  for (float* at = begin; at < begin + h; at += lanes) {
    const auto a0 = hn::LoadU(d, at);
    const auto a1 = hn::LoadU(d, at + h);
    const auto a2 = hn::LoadU(d, at + 2 * h);
    const auto a3 = hn::LoadU(d, at + 3 * h);
    const auto b0 = hn::Add(a0, a1);
    const auto b1 = hn::Sub(a0, a1);
    const auto b2 = hn::Add(a2, a3);
    const auto b3 = hn::Sub(a2, a3);
    hn::StoreU(hn::Add(b0, b2), d, at);
    hn::StoreU(hn::Add(b1, b3), d, at + h);
    hn::StoreU(hn::Sub(b0, b2), d, at + 2 * h);
    hn::StoreU(hn::Sub(b1, b3), d, at + 3 * h);
  }
}

HWY_INLINE void OneStride(float* begin, std::size_t h, std::size_t lanes) {
  const Tag d;
  for (float* at = begin; at < begin + h; at += lanes) {
    const auto a0 = hn::LoadU(d, at);
    const auto a1 = hn::LoadU(d, at + h);
    hn::StoreU(hn::Add(a0, a1), d, at);
    hn::StoreU(hn::Sub(a0, a1), d, at + h);
  }
}

// Whether this machine's vectors are as long as the code above takes them to be and fit.
bool Fits(std::size_t size) {
  return hn::Lanes(Tag()) == hn::MaxLanes(Tag()) && size >= hn::Lanes(Tag()) && size % 4 == 0;
}

void AcrossVectors(std::span<float> values) {
  const std::size_t lanes = hn::Lanes(Tag());
  std::size_t h = lanes;
  for (; 4 * h <= values.size(); h *= 4) {
    for (std::size_t i = 0; i < values.size(); i += 4 * h) TwoStrides(&values[i], h, lanes);
  }
  if (h < values.size()) OneStride(values.data(), h, lanes);
}

bool RotateForwardVectors(std::span<float> values, const std::uint32_t* signs, float scale) {
  if (!Fits(values.size())) return false;
  const Tag d;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t i = 0; i < values.size(); i += lanes) {
    const auto value = ChangeSigns(hn::LoadU(d, &values[i]), signs, i);
    hn::StoreU(InsideVector(d, value), d, &values[i]);
  }
  AcrossVectors(values);
  const auto factor = hn::Set(d, scale);
  for (std::size_t i = 0; i < values.size(); i += lanes) {
    hn::StoreU(hn::Mul(hn::LoadU(d, &values[i]), factor), d, &values[i]);
  }
  return true;
}

bool RotateBackVectors(std::span<float> values, const std::uint32_t* signs, float scale) {
  if (!Fits(values.size())) return false;
  const Tag d;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t i = 0; i < values.size(); i += lanes) {
    hn::StoreU(InsideVector(d, hn::LoadU(d, &values[i])), d, &values[i]);
  }
  AcrossVectors(values);
  const auto factor = hn::Set(d, scale);
  for (std::size_t i = 0; i < values.size(); i += lanes) {
    const auto value = hn::Mul(hn::LoadU(d, &values[i]), factor);
    hn::StoreU(ChangeSigns(value, signs, i), d, &values[i]);
  }
  return true;
}

#endif

}  // namespace fl::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fl::kernels {
namespace {

HWY_EXPORT(RotateForwardVectors);
HWY_EXPORT(RotateBackVectors);

float ScaleOf(std::size_t size) {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(size)));
}

void CheckSizes(std::span<const float> values, SignWords signs) {
  FL_CHECK(std::has_single_bit(values.size()) && signs.size() == (values.size() + 31) / 32,
           "a power of two, and a sign for each value");
}

void ChangeSigns(std::span<float> values, SignWords signs) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (((signs[i / 32] >> (i % 32)) & 1U) != 0) values[i] = -values[i];
  }
}

void Transform(std::span<float> values) {
  for (std::size_t h = 1; h < values.size(); h *= 2) {
    for (std::size_t i = 0; i < values.size(); i += 2 * h) {
      for (std::size_t j = i; j < i + h; ++j) {
        const float a = values[j];
        const float b = values[j + h];
        values[j] = a + b;
        values[j + h] = a - b;
      }
    }
  }
  const float scale = ScaleOf(values.size());
  for (float& value : values) value *= scale;
}

}  // namespace

void RotateForwardReference(std::span<float> values, SignWords signs) {
  CheckSizes(values, signs);
  ChangeSigns(values, signs);
  Transform(values);
}

void RotateBackReference(std::span<float> values, SignWords signs) {
  CheckSizes(values, signs);
  Transform(values);
  ChangeSigns(values, signs);
}

void RotateForward(std::span<float> values, SignWords signs) {
  CheckSizes(values, signs);
  if (!HWY_DYNAMIC_DISPATCH(RotateForwardVectors)(values, signs.data(), ScaleOf(values.size())))
    RotateForwardReference(values, signs);
}

void RotateBack(std::span<float> values, SignWords signs) {
  CheckSizes(values, signs);
  if (!HWY_DYNAMIC_DISPATCH(RotateBackVectors)(values, signs.data(), ScaleOf(values.size())))
    RotateBackReference(values, signs);
}

}  // namespace fl::kernels
#endif  // HWY_ONCE
