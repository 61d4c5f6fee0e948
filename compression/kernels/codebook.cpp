#include "fl/compression/kernels/codebook.h"

#include <algorithm>
#include <array>
#include <bit>

#include "fl/common/base/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fl/compression/kernels/codebook.cpp"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

#ifndef FL_COMPRESSION_KERNELS_CODEBOOK_TABLES
#define FL_COMPRESSION_KERNELS_CODEBOOK_TABLES
namespace fl::kernels {

// Tables as long as any vector.
struct Codebook {
  explicit Codebook(std::span<const float> levels) : size(levels.size()) {
    std::ranges::copy(levels, values.begin());
  }
  std::size_t size;
  std::array<float, 256> values{};
};

// A search tree over 2^bits - 1 thresholds, level by level from node 1 on.
struct ThresholdTree {
  explicit ThresholdTree(std::span<const float> thresholds)
      : bits(static_cast<unsigned>(std::bit_width(thresholds.size()))) {
    for (std::size_t first = 1; first <= thresholds.size(); first *= 2) {
      const std::size_t apart = (thresholds.size() + 1) / first;
      for (std::size_t i = 0; i < first; ++i)
        nodes[first + i] = thresholds[i * apart + apart / 2 - 1];
    }
  }
  unsigned bits;
  std::array<float, 256> nodes{};
};

}  // namespace fl::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace fl::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using IntTag = hn::RebindToSigned<FloatTag>;
using CodeTag = hn::Rebind<std::uint8_t, FloatTag>;
using Floats = hn::Vec<FloatTag>;
using Ints = hn::Vec<IntTag>;

// at[index] of each lane; a table that fits a vector is looked up there.
template <bool kInVector>
HWY_INLINE Floats LookUp(Floats table, const float* at, Ints index) {
  if constexpr (kInVector) {
    return hn::TableLookupLanes(table, hn::IndicesFromVec(FloatTag(), index));
  } else {
    return hn::GatherIndex(FloatTag(), at, index);
  }
}

HWY_INLINE void StoreCodes(Ints codes, std::uint8_t* at) {
  const hn::RebindToUnsigned<FloatTag> du;
  hn::StoreU(hn::TruncateTo(CodeTag(), hn::BitCast(du, codes)), CodeTag(), at);
}

// All give back the first index that is left over. This one counts the thresholds that are reached.
std::size_t FindFewCodesVectors(std::span<const float> values, std::span<const float> thresholds,
                                std::uint8_t* codes) {
  const FloatTag d;
  const IntTag di;
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
    StoreCodes(count, codes + i);
  }
  return i;
}

// From the root, node 1, to the children 2 k and 2 k + 1 of node k.
template <bool kInVector>
HWY_INLINE std::size_t FindInTree(std::span<const float> values, const ThresholdTree& tree,
                                  std::uint8_t* codes) {
  const FloatTag d;
  const IntTag di;
  const std::size_t lanes = hn::Lanes(d);
  const auto table = hn::LoadU(d, tree.nodes.data());
  const auto leaf = hn::Set(di, std::int32_t{1} << tree.bits);
  std::size_t i = 0;
  for (; i + lanes <= values.size(); i += lanes) {
    const auto value = hn::LoadU(d, &values[i]);
    auto node = hn::Set(di, 1);
    for (unsigned level = 0; level < tree.bits; ++level) {
      const auto threshold = LookUp<kInVector>(table, tree.nodes.data(), node);
      const auto reached = hn::BitCast(di, hn::VecFromMask(d, hn::Ge(value, threshold)));
      node = hn::Sub(hn::Add(node, node), reached);
    }
    StoreCodes(hn::Sub(node, leaf), codes + i);
  }
  return i;
}

std::size_t FindCodesVectors(std::span<const float> values, std::span<const float> thresholds,
                             std::uint8_t* codes) {
  constexpr std::size_t kFew = 15;  // Up to here counting is faster than a tree in memory.
  const bool fits = thresholds.size() < hn::Lanes(FloatTag());
  if (thresholds.size() <= (fits ? 1 : kFew)) return FindFewCodesVectors(values, thresholds, codes);
  const ThresholdTree tree(thresholds);
  return fits ? FindInTree<true>(values, tree, codes) : FindInTree<false>(values, tree, codes);
}

template <bool kInVector>
HWY_INLINE std::size_t AddLevels(const std::uint8_t* codes, const float* levels, float scale,
                                 std::span<float> out) {
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  const auto factor = hn::Set(d, scale);
  const auto table = hn::LoadU(d, levels);
  std::size_t i = 0;
  for (; i + lanes <= out.size(); i += lanes) {
    const auto code = hn::PromoteTo(IntTag(), hn::LoadU(CodeTag(), codes + i));
    const auto level = LookUp<kInVector>(table, levels, code);
    hn::StoreU(hn::Add(hn::LoadU(d, &out[i]), hn::Mul(factor, level)), d, &out[i]);
  }
  return i;
}

std::size_t AddCodebookVectors(const std::uint8_t* codes, const Codebook& levels, float scale,
                               std::span<float> out) {
  return levels.size <= hn::Lanes(FloatTag())
             ? AddLevels<true>(codes, levels.values.data(), scale, out)
             : AddLevels<false>(codes, levels.values.data(), scale, out);
}

template <bool kInVector>
HWY_INLINE std::size_t FindLevels(const std::uint8_t* codes, const float* levels,
                                  std::span<float> out) {
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  const auto table = hn::LoadU(d, levels);
  std::size_t i = 0;
  for (; i + lanes <= out.size(); i += lanes) {
    const auto code = hn::PromoteTo(IntTag(), hn::LoadU(CodeTag(), codes + i));
    hn::StoreU(LookUp<kInVector>(table, levels, code), d, &out[i]);
  }
  return i;
}

std::size_t FindLevelsVectors(const std::uint8_t* codes, const Codebook& levels,
                              std::span<float> out) {
  return levels.size <= hn::Lanes(FloatTag()) ? FindLevels<true>(codes, levels.values.data(), out)
                                              : FindLevels<false>(codes, levels.values.data(), out);
}

}  // namespace fl::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fl::kernels {
namespace {

HWY_EXPORT(FindCodesVectors);
HWY_EXPORT(AddCodebookVectors);
HWY_EXPORT(FindLevelsVectors);

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
  const std::size_t done = HWY_DYNAMIC_DISPATCH(FindCodesVectors)(values, thresholds, codes.data());
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
      HWY_DYNAMIC_DISPATCH(AddCodebookVectors)(codes.data(), Codebook(levels), scale, out);
  AddCodebookReference(codes.subspan(done), levels, scale, out.subspan(done));
}

void FindLevelsReference(std::span<const std::uint8_t> codes, std::span<const float> levels,
                         std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = levels[codes[i]];
}

void FindLevels(std::span<const std::uint8_t> codes, std::span<const float> levels,
                std::span<float> out) {
  FL_CHECK(codes.size() == out.size(), "a code for each place");
  const std::size_t done =
      HWY_DYNAMIC_DISPATCH(FindLevelsVectors)(codes.data(), Codebook(levels), out);
  FindLevelsReference(codes.subspan(done), levels, out.subspan(done));
}

}  // namespace fl::kernels
#endif  // HWY_ONCE
