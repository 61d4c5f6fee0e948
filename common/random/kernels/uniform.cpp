#include "fl/common/random/kernels/uniform.h"

#include <array>

#include "fl/common/base/check.h"
#include "fl/common/random/internal/philox.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fl/common/random/kernels/uniform.cpp"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

#ifndef FL_COMMON_RANDOM_KERNELS_ROUND_KEYS
#define FL_COMMON_RANDOM_KERNELS_ROUND_KEYS
namespace fl::kernels {

// The two words of the key in each of Philox's rounds.
class RoundKeys {
 public:
  static constexpr std::size_t kRounds = 10;

  explicit RoundKeys(std::uint64_t key) {
    auto low = static_cast<std::uint32_t>(key);
    auto high = static_cast<std::uint32_t>(key >> 32);
    for (std::size_t round = 0; round < kRounds; ++round) {
      words_[2 * round] = low;
      words_[2 * round + 1] = high;
      low += 0x9E3779B9U;
      high += 0xBB67AE85U;
    }
  }
  const std::uint64_t* Of(std::size_t round) const { return &words_[2 * round]; }

 private:
  std::array<std::uint64_t, 2 * kRounds> words_;
};

}  // namespace fl::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace fl::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET != HWY_SCALAR
using WordTag = hn::ScalableTag<std::uint64_t>;
using HalfTag = hn::Repartition<std::uint32_t, WordTag>;
using WordVector = hn::Vec<WordTag>;

HWY_INLINE WordVector Multiply(WordVector x, std::uint32_t by) {
  return hn::MulEven(hn::BitCast(HalfTag(), x), hn::Set(HalfTag(), by));
}

// Two words for each block, the first in the lower half.
HWY_INLINE WordVector Join(WordVector first, WordVector second) {
  const WordTag d;
  return hn::Or(hn::And(first, hn::Set(d, 0xFFFFFFFFU)), hn::ShiftLeft<32>(second));
}

// Words as numbers in [0, 1).
struct ToUniforms {
  HWY_INLINE WordVector operator()(WordVector words) const {
    const WordTag d;
    const hn::Repartition<std::int32_t, WordTag> di;
    const hn::Repartition<float, WordTag> df;
    const auto upper = hn::BitCast(di, hn::ShiftRight<8>(hn::BitCast(HalfTag(), words)));
    return hn::BitCast(d, hn::Mul(hn::ConvertTo(df, upper), hn::Set(df, 0x1.0p-24F)));
  }
};
struct ToWords {
  HWY_INLINE WordVector operator()(WordVector words) const { return words; }
};

// A block for each lane of 64 bits, a vector for each of its words, whose upper halves mean
// nothing.
HWY_INLINE void Round(WordVector& x0, WordVector& x1, WordVector& x2, WordVector& x3,
                      const std::uint64_t* keys) {
  const WordTag d;
  const auto product0 = Multiply(x0, 0xD2511F53U);
  const auto product1 = Multiply(x2, 0xCD9E8D57U);
  x0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(product1), x1), hn::Set(d, keys[0]));
  x1 = product1;
  x2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(product0), x3), hn::Set(d, keys[1]));
  x3 = product0;
}

// Writes the words of the counters (Counters) in their order.
template <typename Convert>
HWY_INLINE void StoreBlocks(WordVector x0, WordVector x1, WordVector x2, WordVector x3,
                            std::uint64_t* words) {
  const WordTag d;
  const WordVector front = Convert()(Join(x0, x1));
  const WordVector back = Convert()(Join(x2, x3));
  hn::StoreU(hn::InterleaveLower(d, front, back), d, words);
  hn::StoreU(hn::InterleaveUpper(d, front, back), d, words + hn::Lanes(d));
}

// From `first` on: the lower half of them in the even lanes, the upper half in the odd ones, as
// interleaving takes them apart.
HWY_INLINE WordVector Counters(std::uint64_t first) {
  const WordTag d;
  const auto lane = hn::Iota(d, 0);
  const auto is_odd = hn::Eq(hn::And(lane, hn::Set(d, 1)), hn::Set(d, 1));
  const auto half = hn::IfThenElseZero(is_odd, hn::Set(d, hn::Lanes(d) / 2));
  return hn::Add(hn::Set(d, first), hn::Add(hn::ShiftRight<1>(lane), half));
}

// Gives back the first index that is left over.
template <typename Convert, typename T>
HWY_INLINE std::size_t FillVectors(std::uint64_t key, std::uint64_t first, std::span<T> out) {
  const WordTag d;
  const std::size_t lanes = hn::Lanes(d);
  const RoundKeys keys(key);
  auto* words = reinterpret_cast<std::uint64_t*>(out.data());
  std::size_t i = 0;
  // Two vectors of blocks at a time: a round has to wait for the one before it.
  for (; i + 8 * lanes <= out.size(); i += 8 * lanes) {
    auto x0 = Counters(first + i / 4);
    auto x1 = hn::ShiftRight<32>(x0);
    auto x2 = hn::Zero(d);
    auto x3 = hn::Zero(d);
    auto y0 = Counters(first + i / 4 + lanes);
    auto y1 = hn::ShiftRight<32>(y0);
    auto y2 = hn::Zero(d);
    auto y3 = hn::Zero(d);
    for (std::size_t round = 0; round < RoundKeys::kRounds; ++round) {
      Round(x0, x1, x2, x3, keys.Of(round));
      Round(y0, y1, y2, y3, keys.Of(round));
    }
    StoreBlocks<Convert>(x0, x1, x2, x3, words + i / 2);
    StoreBlocks<Convert>(y0, y1, y2, y3, words + i / 2 + 2 * lanes);
  }
  for (; i + 4 * lanes <= out.size(); i += 4 * lanes) {
    auto x0 = Counters(first + i / 4);
    auto x1 = hn::ShiftRight<32>(x0);
    auto x2 = hn::Zero(d);
    auto x3 = hn::Zero(d);
    for (std::size_t round = 0; round < RoundKeys::kRounds; ++round)
      Round(x0, x1, x2, x3, keys.Of(round));
    StoreBlocks<Convert>(x0, x1, x2, x3, words + i / 2);
  }
  return i;
}

std::size_t FillUniformVectors(std::uint64_t key, std::uint64_t first, std::span<float> out) {
  return FillVectors<ToUniforms>(key, first, out);
}
std::size_t FillWordVectors(std::uint64_t key, std::uint64_t first, std::span<std::uint32_t> out) {
  return FillVectors<ToWords>(key, first, out);
}
#else
// Without vectors everything is left to the references.
std::size_t FillUniformVectors(std::uint64_t, std::uint64_t, std::span<float>) {
  return 0;
}
std::size_t FillWordVectors(std::uint64_t, std::uint64_t, std::span<std::uint32_t>) {
  return 0;
}
#endif

}  // namespace fl::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fl::kernels {
namespace {

HWY_EXPORT(FillUniformVectors);
HWY_EXPORT(FillWordVectors);

// Calls use(i, word) for each word of `count / 4` blocks.
template <typename Use>
void ForWords(std::uint64_t key, std::uint64_t first, std::size_t count, Use use) {
  for (std::size_t i = 0; i < count; i += 4) {
    const std::uint64_t counter = first + i / 4;
    const auto block = internal::Philox(
        {static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32), 0, 0},
        {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)});
    for (std::size_t j = 0; j < block.size(); ++j) use(i + j, block[j]);
  }
}

}  // namespace

void FillUniformBlocksReference(std::uint64_t key, std::uint64_t first, std::span<float> out) {
  ForWords(key, first, out.size(), [&](std::size_t i, std::uint32_t word) {
    out[i] = static_cast<float>(word >> 8) * 0x1.0p-24F;
  });
}

void FillUniformBlocks(std::uint64_t key, std::uint64_t first, std::span<float> out) {
  FL_CHECK(out.size() % 4 == 0, "a block has four words");
  const std::size_t done = HWY_DYNAMIC_DISPATCH(FillUniformVectors)(key, first, out);
  FillUniformBlocksReference(key, first + done / 4, out.subspan(done));
}

void FillWordBlocksReference(std::uint64_t key, std::uint64_t first, std::span<std::uint32_t> out) {
  ForWords(key, first, out.size(), [&](std::size_t i, std::uint32_t word) { out[i] = word; });
}

void FillWordBlocks(std::uint64_t key, std::uint64_t first, std::span<std::uint32_t> out) {
  FL_CHECK(out.size() % 4 == 0, "a block has four words");
  const std::size_t done = HWY_DYNAMIC_DISPATCH(FillWordVectors)(key, first, out);
  FillWordBlocksReference(key, first + done / 4, out.subspan(done));
}

}  // namespace fl::kernels
#endif  // HWY_ONCE
