#include "fl/common/base/byte_count.h"

#include <doctest/doctest.h>

namespace fl::testing {

TEST_CASE("ParseByteCount: units count in thousands") {
  CHECK(ParseByteCount("0") == 0);
  CHECK(ParseByteCount("500") == 500);
  CHECK(ParseByteCount("500B") == 500);
  CHECK(ParseByteCount("60KB") == 60'000);
  CHECK(ParseByteCount("1.5MB") == 1'500'000);
  CHECK(ParseByteCount("1000GB") == 1'000'000'000'000);
}

TEST_CASE("ParseByteCount: what is no whole number of bytes is nothing") {
  for (const char* text : {"", "KB", "-1", "1.5", "0.0001KB", "60 KB", "60kB", "60K", "nan", "inf",
                           "1001GB", "1e300MB", "60KBx"}) {
    CAPTURE(text);
    CHECK_FALSE(ParseByteCount(text).has_value());
  }
}

}  // namespace fl::testing
