#include "fl/compression/kernels/powers.h"

#include <algorithm>
#include <bit>

#include "fl/common/base/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fl/compression/kernels/powers.cpp"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace fl::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Gives back the first index that is left over.
std::size_t RoundToPowersVectors(std::span<const float> values, const std::uint32_t* words,
                                 std::uint8_t* exponents, std::uint8_t* negative) {
  const hn::ScalableTag<float> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const hn::Rebind<std::uint8_t, decltype(d)> d8;
  const std::size_t lanes = hn::Lanes(d);
  const auto largest = hn::Set(du, 254);
  const auto one = hn::Set(du, 1);
  std::size_t i = 0;
  for (; i + lanes <= values.size(); i += lanes) {
    const auto bits = hn::BitCast(du, hn::LoadU(d, &values[i]));
    const auto magnitude = hn::And(bits, hn::Set(du, 0x7FFFFFFFU));
    const auto raised = hn::Add(magnitude, hn::ShiftRight<9>(hn::LoadU(du, words + i)));
    const auto exponent = hn::Min(hn::ShiftRight<23>(raised), largest);
    const auto sign = hn::Min(hn::ShiftRight<31>(bits), hn::Min(exponent, one));
    hn::StoreU(hn::TruncateTo(d8, exponent), d8, exponents + i);
    hn::StoreU(hn::TruncateTo(d8, sign), d8, negative + i);
  }
  return i;
}

}  // namespace fl::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fl::kernels {
namespace {

HWY_EXPORT(RoundToPowersVectors);

}  // namespace

// The fraction of a float's power of two is its significand: adding a random one carries into the
// exponent with just that chance, subnormal values included.
void RoundToPowersReference(std::span<const float> values, std::span<const std::uint32_t> words,
                            std::span<std::uint8_t> exponents, std::span<std::uint8_t> negative) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(values[i]);
    const std::uint32_t raised = (bits & 0x7FFFFFFFU) + (words[i] >> 9);
    exponents[i] = static_cast<std::uint8_t>(std::min(raised >> 23, 254U));
    negative[i] = exponents[i] != 0 && (bits >> 31) != 0 ? 1 : 0;
  }
}

void RoundToPowers(std::span<const float> values, std::span<const std::uint32_t> words,
                   std::span<std::uint8_t> exponents, std::span<std::uint8_t> negative) {
  FL_CHECK(words.size() == values.size() && exponents.size() == values.size() &&
               negative.size() == values.size(),
           "a word, an exponent and a sign for each value");
  const std::size_t done = HWY_DYNAMIC_DISPATCH(RoundToPowersVectors)(
      values, words.data(), exponents.data(), negative.data());
  RoundToPowersReference(values.subspan(done), words.subspan(done), exponents.subspan(done),
                         negative.subspan(done));
}

}  // namespace fl::kernels
#endif  // HWY_ONCE
