#include "fl/compression/codecs/rotation.h"

#include <algorithm>
#include <array>
#include <bit>

#include "fl/common/base/check.h"
#include "fl/common/random/rng_stream.h"
#include "fl/compression/kernels/hadamard.h"

namespace fl {
namespace {

// The signs of a unit's one or two maps, of `span` values each.
struct UnitSigns {
  std::size_t span = 0;
  bool two = false;
  std::array<std::uint32_t, 2 * kRotationBlockMax / 32> words;

  kernels::SignWords first() const { return std::span(words).first((span + 31) / 32); }
  kernels::SignWords second() const {
    return std::span(words).subspan((span + 31) / 32, (span + 31) / 32);
  }
};

UnitSigns DrawSigns(std::uint32_t seed, std::size_t unit, std::size_t size) {
  FL_CHECK(size >= 1 && size <= kRotationBlockMax, "a unit is at most a block");
  UnitSigns signs;
  signs.span = std::bit_floor(size);
  signs.two = signs.span < size;
  RngStream rng = RngStream(seed).Child("rotation", unit);
  const std::size_t words = (signs.span + 31) / 32 * (signs.two ? 2 : 1);
  rng.FillWords(std::span(signs.words).first(words));
  return signs;
}

}  // namespace

std::size_t RotationUnits::size(std::size_t unit) const {
  return std::min(block, count - first(unit));
}

void RotateUnit(std::uint32_t seed, std::size_t unit, std::span<const float> values,
                std::span<float> out) {
  const UnitSigns signs = DrawSigns(seed, unit, values.size());
  kernels::RotateForward(values.first(signs.span), signs.first(), out.first(signs.span));
  if (!signs.two) return;
  if (values.data() != out.data())
    std::ranges::copy(values.subspan(signs.span),
                      out.begin() + static_cast<std::ptrdiff_t>(signs.span));
  const auto last = out.last(signs.span);
  kernels::RotateForward(last, signs.second(), last);
}

void RotateUnitBack(std::uint32_t seed, std::size_t unit, std::span<float> values) {
  const UnitSigns signs = DrawSigns(seed, unit, values.size());
  if (signs.two) kernels::RotateBack(values.last(signs.span), signs.second());
  kernels::RotateBack(values.first(signs.span), signs.first());
}

}  // namespace fl
