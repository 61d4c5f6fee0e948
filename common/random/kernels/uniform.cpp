#include "fl/common/random/kernels/uniform.h"

#include "fl/common/base/check.h"
#include "fl/common/random/internal/philox.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fl/common/random/kernels/uniform.cpp"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace fl::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET != HWY_SCALAR
using WordTag = hn::ScalableTag<std::uint64_t>;
using HalfTag = hn::Repartition<std::uint32_t, WordTag>;
using WordVector = hn::Vec<WordTag>;

// Two words for each block, the first in the lower half, as numbers in [0, 1).
HWY_INLINE WordVector ToUniforms(WordVector first, WordVector second) {
  const WordTag d;
  const hn::Repartition<std::int32_t, WordTag> di;
  const hn::Repartition<float, WordTag> df;
  const auto low = hn::And(first, hn::Set(d, 0xFFFFFFFFU));
  const auto words = hn::BitCast(HalfTag(), hn::Or(low, hn::ShiftLeft<32>(second)));
  const auto upper = hn::BitCast(di, hn::ShiftRight<8>(words));
  return hn::BitCast(d, hn::Mul(hn::ConvertTo(df, upper), hn::Set(df, 0x1.0p-24F)));
}
#endif

// A block for each lane of 64 bits, a vector for each of its words, whose upper halves mean
// nothing. Gives back the first index that is left over.
std::size_t FillUniformVectors(std::uint64_t key, std::uint64_t first, std::span<float> out) {
#if HWY_TARGET == HWY_SCALAR
  static_cast<void>(key), static_cast<void>(first), static_cast<void>(out);
  return 0;
#else
  const WordTag d;
  const std::size_t lanes = hn::Lanes(d);
  const auto multiply = [](WordVector x, std::uint32_t by) HWY_ATTR {
    return hn::MulEven(hn::BitCast(HalfTag(), x), hn::Set(HalfTag(), by));
  };
  std::size_t i = 0;
  for (; i + 4 * lanes <= out.size(); i += 4 * lanes) {
    auto x0 = hn::Iota(d, first + i / 4);
    auto x1 = hn::ShiftRight<32>(x0);
    auto x2 = hn::Zero(d);
    auto x3 = hn::Zero(d);
    std::uint64_t key0 = key & 0xFFFFFFFFU;
    std::uint64_t key1 = key >> 32;
    for (int round = 0; round < 10; ++round) {
      const auto product0 = multiply(x0, 0xD2511F53U);
      const auto product1 = multiply(x2, 0xCD9E8D57U);
      x0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(product1), x1), hn::Set(d, key0));
      x1 = product1;
      x2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(product0), x3), hn::Set(d, key1));
      x3 = product0;
      key0 += 0x9E3779B9U;
      key1 += 0xBB67AE85U;
    }
    hn::StoreInterleaved2(ToUniforms(x0, x1), ToUniforms(x2, x3), d,
                          reinterpret_cast<std::uint64_t*>(out.data() + i));
  }
  return i;
#endif
}

}  // namespace fl::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fl::kernels {
namespace {

HWY_EXPORT(FillUniformVectors);

}  // namespace

void FillUniformBlocksReference(std::uint64_t key, std::uint64_t first, std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); i += 4) {
    const std::uint64_t counter = first + i / 4;
    const auto block = internal::Philox(
        {static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32), 0, 0},
        {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)});
    for (std::size_t j = 0; j < block.size(); ++j)
      out[i + j] = static_cast<float>(block[j] >> 8) * 0x1.0p-24F;
  }
}

void FillUniformBlocks(std::uint64_t key, std::uint64_t first, std::span<float> out) {
  FL_CHECK(out.size() % 4 == 0, "a block has four words");
  const std::size_t done = HWY_DYNAMIC_DISPATCH(FillUniformVectors)(key, first, out);
  FillUniformBlocksReference(key, first + done / 4, out.subspan(done));
}

}  // namespace fl::kernels
#endif  // HWY_ONCE
