#include "fl/common/base/readable.h"

#include <doctest/doctest.h>

namespace fl::testing {

TEST_CASE("FormatBytes: sizes have three figures and a unit") {
  CHECK(FormatBytes(999) == "999 B");
  CHECK(FormatBytes(1000) == "1.0 kB");
  CHECK(FormatBytes(25000000) == "25.0 MB");
  CHECK(FormatBytes(1434000000) == "1.43 GB");
}

TEST_CASE("FormatSeconds: minutes and hours appear when needed") {
  CHECK(FormatSeconds(7) == "0:07");
  CHECK(FormatSeconds(760) == "12:40");
  CHECK(FormatSeconds(3723) == "1:02:03");
  CHECK(FormatSeconds(-1) == "0:00");
}

TEST_CASE("ProgressBar: is as full as the work is done") {
  CHECK(ProgressBar(0, 4) == "[........................]");
  CHECK(ProgressBar(1, 4) == "[######..................]");
  CHECK(ProgressBar(4, 4) == "[########################]");
  CHECK(ProgressBar(5, 4) == ProgressBar(4, 4));
  CHECK(ProgressBar(0, 0) == ProgressBar(4, 4));
}

}  // namespace fl::testing
