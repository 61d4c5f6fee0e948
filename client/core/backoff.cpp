#include "fl/client/core/backoff.h"

#include <algorithm>

namespace fl::client {
namespace {

Duration Fraction(Duration whole, RngStream& rng) {
  return Duration(
      static_cast<Duration::rep>(static_cast<double>(whole.count()) * rng.UniformDouble()));
}

}  // namespace

Duration DrawInWindow(const AgainWindow& window, RngStream& rng) {
  return window.min + Fraction(std::max(window.max - window.min, Duration::zero()), rng);
}

Duration DrawBackoff(Duration base, Duration cap, std::uint32_t failures, RngStream& rng) {
  Duration limit = std::min(base, cap);
  for (std::uint32_t i = 0; i < failures && limit < cap; ++i) limit = std::min(limit * 2, cap);
  return Fraction(limit, rng);
}

}  // namespace fl::client
