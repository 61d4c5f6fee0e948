#include "fl/compression/codecs/raw.h"

#include <limits>
#include <span>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "fl/tests/support/result.h"

namespace fl {
namespace {

using testing::CodeOf;

TEST_CASE("Raw: a value that is no number or too large is found at each position") {
  const PayloadLimits limits;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<std::pair<float, ErrorCode>> refused = {
      {std::numeric_limits<float>::quiet_NaN(), ErrorCode::kNotFinite},
      {kInfinity, ErrorCode::kNotFinite},
      {-kInfinity, ErrorCode::kNotFinite},
      {limits.magnitude_max * 1.001F, ErrorCode::kLimitExceeded},
      {-limits.magnitude_max * 1.001F, ErrorCode::kLimitExceeded}};
  std::vector<float> values(37, -limits.magnitude_max);
  const auto check = [&] {
    return Raw().Check(std::as_bytes(std::span(values)), values.size(), limits);
  };
  CHECK(check());
  for (const auto& [bad, code] : refused) {
    for (float& value : values) {
      const float kept = std::exchange(value, bad);
      CHECK(CodeOf(check()) == code);
      value = kept;
    }
  }
}

}  // namespace
}  // namespace fl
