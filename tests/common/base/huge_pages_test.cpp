#include "fl/common/base/huge_pages.h"

#include <algorithm>

#include <doctest/doctest.h>

namespace fl {
namespace {

TEST_CASE("MakeLargeVector: holds zeros and can be written, small or large") {
  for (const std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{3} << 20U}) {
    CAPTURE(count);
    auto values = MakeLargeVector<float>(count);
    CHECK(values.size() == count);
    CHECK(std::ranges::all_of(values, [](float value) { return value == 0.0F; }));
    std::ranges::fill(values, 1.5F);
    CHECK(std::ranges::count(values, 1.5F) == static_cast<std::ptrdiff_t>(count));
  }
}

}  // namespace
}  // namespace fl
