#include "fl/compression/kernels/find_above.h"

#include <bit>

#include "fl/common/base/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fl/compression/kernels/find_above.cpp"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace fl::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Most vectors hold nothing that is wanted: four at a time are passed over by one test. Leaves a
// rest from *looked_at on.
std::size_t FindAboveVectors(const float* values, std::size_t size, std::uint32_t least,
                             std::uint32_t first, std::uint32_t* out, std::size_t* looked_at) {
#if HWY_TARGET == HWY_SCALAR
  static_cast<void>(values), static_cast<void>(size), static_cast<void>(least);
  static_cast<void>(first), static_cast<void>(out);
  *looked_at = 0;
  return 0;
#else
  const hn::CappedTag<float, kFindAboveSlack> d;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::RebindToUnsigned<decltype(d)> du;
  const std::size_t lanes = hn::Lanes(d);
  const auto magnitude = hn::Set(di, static_cast<std::int32_t>(kMagnitudeMask));
  const auto threshold = hn::Set(di, static_cast<std::int32_t>(least) - 1);
  const auto is_above = [&](std::size_t at) HWY_ATTR {
    const auto bits = hn::And(hn::BitCast(di, hn::LoadU(d, values + at)), magnitude);
    return hn::Gt(bits, threshold);
  };
  std::size_t count = 0;
  const auto store = [&](std::size_t at, auto above) HWY_ATTR {
    const auto indices = hn::Iota(du, static_cast<std::uint32_t>(first + at));
    const auto wanted = hn::RebindMask(du, above);
    hn::StoreU(hn::Compress(indices, wanted), du, out + count);
    count += hn::CountTrue(du, wanted);
  };
  std::size_t i = 0;
  for (; i + 4 * lanes <= size; i += 4 * lanes) {
    const auto a = is_above(i);
    const auto b = is_above(i + lanes);
    const auto c = is_above(i + 2 * lanes);
    const auto e = is_above(i + 3 * lanes);
    if (hn::AllFalse(di, hn::Or(hn::Or(a, b), hn::Or(c, e)))) continue;
    store(i, a);
    store(i + lanes, b);
    store(i + 2 * lanes, c);
    store(i + 3 * lanes, e);
  }
  *looked_at = i;
  return count;
#endif
}

}  // namespace fl::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fl::kernels {
namespace {

HWY_EXPORT(FindAboveVectors);

}  // namespace

std::size_t FindAboveReference(std::span<const float> values, std::uint32_t least,
                               std::uint32_t first, std::span<std::uint32_t> out) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if ((std::bit_cast<std::uint32_t>(values[i]) & kMagnitudeMask) >= least)
      out[count++] = first + static_cast<std::uint32_t>(i);
  }
  return count;
}

std::size_t FindAbove(std::span<const float> values, std::uint32_t least, std::uint32_t first,
                      std::span<std::uint32_t> out) {
  FL_CHECK(out.size() >= values.size() + kFindAboveSlack, "there is room for all");
  std::size_t looked_at = 0;
  const std::size_t count = HWY_DYNAMIC_DISPATCH(FindAboveVectors)(
      values.data(), values.size(), least, first, out.data(), &looked_at);
  return count + FindAboveReference(values.subspan(looked_at), least,
                                    first + static_cast<std::uint32_t>(looked_at),
                                    out.subspan(count));
}

}  // namespace fl::kernels
#endif  // HWY_ONCE
