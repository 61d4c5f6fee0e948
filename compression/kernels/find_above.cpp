#include "fl/compression/kernels/find_above.h"

#include <bit>

#include "fl/common/base/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fl/compression/kernels/find_above.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace fl::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// How far ahead values are fetched.
constexpr std::size_t kAhead = 1024;

// Without branches, which would be mispredicted: memory is slower than this. Leaves a rest from
// *looked_at on.
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
  const auto lane = hn::Iota(du, first);
  std::size_t count = 0;
  std::size_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    hwy::Prefetch(values + i + kAhead);
    const auto bits = hn::And(hn::BitCast(di, hn::LoadU(d, values + i)), magnitude);
    const auto wanted = hn::RebindMask(du, hn::Gt(bits, threshold));
    const auto indices = hn::Add(lane, hn::Set(du, static_cast<std::uint32_t>(i)));
    hn::StoreU(hn::Compress(indices, wanted), du, out + count);
    count += hn::CountTrue(du, wanted);
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
