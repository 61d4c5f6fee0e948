#include "fl/compression/kernels/hadamard.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "fl/common/base/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fl/compression/kernels/hadamard.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace fl::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR
// Without vectors everything is left to the references.
bool RotateForwardVectors(const float*, const std::uint32_t*, float, std::span<float>) {
  return false;
}
bool RotateBackVectors(std::span<float>, const std::uint32_t*, float) {
  return false;
}
#else

using Tag = hn::CappedTag<float, 16>;
using V = hn::Vec<Tag>;

// What is done to the vector that begins at value i.
struct Nothing {
  HWY_INLINE V operator()(V value, std::size_t /*i*/) const { return value; }
};

struct ChangeSigns {
  HWY_INLINE V operator()(V value, std::size_t i) const {
    const Tag d;
    if constexpr (hn::MaxLanes(Tag()) == 16) {
      const auto changed =
          hn::LoadMaskBits(d, reinterpret_cast<const std::uint8_t*>(signs) + i / 8);
      return hn::IfThenElse(changed, hn::Neg(value), value);
    }
    const hn::RebindToUnsigned<Tag> du;
    const auto bits = hn::Set(du, signs[i / 32] >> (i % 32));
    const auto to_top = hn::Sub(hn::Set(du, 31), hn::Iota(du, 0));
    const auto top = hn::And(hn::Shl(bits, to_top), hn::Set(du, 0x80000000U));
    return hn::Xor(value, hn::BitCast(d, top));
  }
  const std::uint32_t* signs;
};

template <typename Then>
struct Scale {
  HWY_INLINE V operator()(V value, std::size_t i) const {
    return then(hn::Mul(value, hn::Set(Tag(), factor)), i);
  }
  float factor;
  Then then;
};

// One butterfly between lanes: `swapped` holds each lane's partner, and the later of a pair
// subtracts itself: partner + (-own). A product with one or minus one is exact, so that a fused
// operation rounds where the sum alone does.
HWY_INLINE V AddPartners(V value, V swapped, std::uint32_t stride) {
  const Tag d;
  const hn::RebindToUnsigned<Tag> du;
  const auto is_later = hn::Ne(hn::And(hn::Iota(du, 0), hn::Set(du, stride)), hn::Zero(du));
  const auto flip = hn::IfThenElseZero(is_later, hn::Set(du, 0x80000000U));
#if HWY_NATIVE_FMA
  return hn::MulAdd(value, hn::Xor(hn::Set(d, 1.0F), hn::BitCast(d, flip)), swapped);
#else
  return hn::Add(swapped, hn::Xor(value, hn::BitCast(d, flip)));
#endif
}

// The strides below the number of lanes.
HWY_INLINE V InsideVector(V value) {
  value = AddPartners(value, hn::Shuffle2301(value), 1);
  value = AddPartners(value, hn::Shuffle1032(value), 2);
  if constexpr (hn::MaxLanes(Tag()) >= 8) {
    value = AddPartners(value, hn::SwapAdjacentBlocks(value), 4);
  }
  if constexpr (hn::MaxLanes(Tag()) >= 16) {
    value = AddPartners(value, hn::ConcatLowerUpper(Tag(), value, value), 8);
  }
  return value;
}

HWY_INLINE void Butterfly(V& first, V& second) {
  const V difference = hn::Sub(first, second);
  first = hn::Add(first, second);
  second = difference;
}

// The strides h and 2 h of four vectors that are h apart.
HWY_INLINE void TwoStrides(V& a0, V& a1, V& a2, V& a3) {
  Butterfly(a0, a1);
  Butterfly(a2, a3);
  Butterfly(a0, a2);
  Butterfly(a1, a3);
}

// The strides h, 2 h and 4 h of the eight vectors that `load_at` gives for begin + j + k h,
// followed by `after`; for each j below h, a vector at a time.
template <typename Load, typename After>
HWY_INLINE void ThreeStrides(float* values, std::size_t begin, std::size_t h, std::size_t lanes,
                             Load load_at, After after) {
  const Tag d;
  for (std::size_t i = begin; i < begin + h; i += lanes) {
    const auto load = [&](std::size_t k) HWY_ATTR { return load_at(i + k * h); };
    const auto store = [&](V value, std::size_t k)
                           HWY_ATTR { hn::StoreU(after(value, i + k * h), d, values + i + k * h); };
    V a0 = load(0);
    V a1 = load(1);
    V a2 = load(2);
    V a3 = load(3);
    V a4 = load(4);
    V a5 = load(5);
    V a6 = load(6);
    V a7 = load(7);
    TwoStrides(a0, a1, a2, a3);
    TwoStrides(a4, a5, a6, a7);
    Butterfly(a0, a4);
    Butterfly(a1, a5);
    Butterfly(a2, a6);
    Butterfly(a3, a7);
    store(a0, 0);
    store(a1, 1);
    store(a2, 2);
    store(a3, 3);
    store(a4, 4);
    store(a5, 5);
    store(a6, 6);
    store(a7, 7);
  }
}

template <typename After>
HWY_INLINE void OneStride(std::span<float> values, std::size_t lanes, After after) {
  const Tag d;
  const std::size_t h = values.size() / 2;
  for (std::size_t i = 0; i < h; i += lanes) {
    V a0 = hn::LoadU(d, &values[i]);
    V a1 = hn::LoadU(d, &values[i + h]);
    Butterfly(a0, a1);
    hn::StoreU(after(a0, i), d, &values[i]);
    hn::StoreU(after(a1, i + h), d, &values[i + h]);
  }
}

template <typename Load, typename After>
HWY_INLINE void ForVectors(std::span<float> values, std::size_t lanes, Load load, After after) {
  for (std::size_t i = 0; i < values.size(); i += lanes)
    hn::StoreU(after(load(i), i), Tag(), &values[i]);
}

// Two strides are left: the last ones.
template <typename After>
HWY_INLINE void LastTwoStrides(std::span<float> values, std::size_t lanes, After after) {
  const Tag d;
  const std::size_t h = values.size() / 4;
  for (std::size_t i = 0; i < h; i += lanes) {
    V a0 = hn::LoadU(d, &values[i]);
    V a1 = hn::LoadU(d, &values[i + h]);
    V a2 = hn::LoadU(d, &values[i + 2 * h]);
    V a3 = hn::LoadU(d, &values[i + 3 * h]);
    TwoStrides(a0, a1, a2, a3);
    hn::StoreU(after(a0, i), d, &values[i]);
    hn::StoreU(after(a1, i + h), d, &values[i + h]);
    hn::StoreU(after(a2, i + 2 * h), d, &values[i + 2 * h]);
    hn::StoreU(after(a3, i + 3 * h), d, &values[i + 3 * h]);
  }
}

// Whether this machine's vectors are as long as the code above takes them to be and fit.
bool Fits(std::size_t size) {
  return hn::Lanes(Tag()) == hn::MaxLanes(Tag()) && size >= hn::Lanes(Tag()) && size % 4 == 0;
}

struct Load {
  HWY_INLINE V operator()(std::size_t i) const { return hn::LoadU(Tag(), values + i); }
  const float* values;
};

// What follows is fetched, too: a row is read once, a unit at a time.
template <typename Before>
struct LoadFirst {
  HWY_INLINE V operator()(std::size_t i) const {
    hwy::Prefetch(values + i + size);
    return InsideVector(before(hn::LoadU(Tag(), values + i), i));
  }
  const float* values;
  std::size_t size;
  Before before;
};

// All strides in their order, three at a time while they last: `before` is done to what is read
// first, `after` to what is written last.
template <typename Before, typename After>
HWY_INLINE void Transform(const float* values, Before before, After after, std::span<float> out) {
  const std::size_t lanes = hn::Lanes(Tag());
  const std::size_t size = out.size();
  const LoadFirst<Before> first{values, size, before};
  const Load again{out.data()};
  std::size_t h = lanes;
  if (8 * h <= size) {
    for (std::size_t i = 0; i < size; i += 8 * h)
      ThreeStrides(out.data(), i, h, lanes, first, Nothing());
    h *= 8;
  } else {
    ForVectors(out, lanes, first, Nothing());
  }
  for (; 8 * h < size; h *= 8) {
    for (std::size_t i = 0; i < size; i += 8 * h)
      ThreeStrides(out.data(), i, h, lanes, again, Nothing());
  }
  if (8 * h == size) {
    ThreeStrides(out.data(), 0, h, lanes, again, after);
  } else if (4 * h == size) {
    LastTwoStrides(out, lanes, after);
  } else if (2 * h == size) {
    OneStride(out, lanes, after);
  } else {
    ForVectors(out, lanes, again, after);
  }
}

bool RotateForwardVectors(const float* values, const std::uint32_t* signs, float scale,
                          std::span<float> out) {
  if (!Fits(out.size())) return false;
  Transform(values, ChangeSigns{signs}, Scale<Nothing>{scale, {}}, out);
  return true;
}

bool RotateBackVectors(std::span<float> values, const std::uint32_t* signs, float scale) {
  if (!Fits(values.size())) return false;
  Transform(values.data(), Nothing(), Scale<ChangeSigns>{scale, {signs}}, values);
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

void RotateForwardReference(std::span<const float> values, SignWords signs, std::span<float> out) {
  CheckSizes(values, signs);
  if (values.data() != out.data()) std::ranges::copy(values, out.begin());
  ChangeSigns(out, signs);
  Transform(out);
}

void RotateBackReference(std::span<float> values, SignWords signs) {
  CheckSizes(values, signs);
  Transform(values);
  ChangeSigns(values, signs);
}

void RotateForward(std::span<const float> values, SignWords signs, std::span<float> out) {
  CheckSizes(values, signs);
  FL_CHECK(out.size() == values.size(), "as many values come out");
  if (!HWY_DYNAMIC_DISPATCH(RotateForwardVectors)(values.data(), signs.data(),
                                                  ScaleOf(values.size()), out)) {
    RotateForwardReference(values, signs, out);
  }
}

void RotateBack(std::span<float> values, SignWords signs) {
  CheckSizes(values, signs);
  if (!HWY_DYNAMIC_DISPATCH(RotateBackVectors)(values, signs.data(), ScaleOf(values.size())))
    RotateBackReference(values, signs);
}

}  // namespace fl::kernels
#endif  // HWY_ONCE
