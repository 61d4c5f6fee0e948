#include "fl/server/publish/publisher.h"

#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include "fl/tests/support/result.h"

namespace fl::server {
namespace {

using testing::Get;

TEST_CASE("Publisher: leaves the wanted model as it is where nothing else was said") {
  const std::vector<float> wanted = {0.1F, -3, 1e-30F};
  CHECK(Get(Publisher({}).Publish(wanted, {})).model == wanted);
  CHECK(Publisher({}).Release(wanted) == wanted);
}

TEST_CASE("Publisher: rounds to the nearest finite bf16") {
  const Publisher publisher({.half = true});
  const float largest = std::numeric_limits<float>::max();
  const std::vector<float> wanted = {1.0F, 1.003F, 1.005F, -0.1F, 0, largest, -largest};
  const Publication published = Get(publisher.Publish(wanted, {}));
  CHECK_FALSE(published.point.has_value());
  CHECK(published.model ==
        std::vector<float>{1.0F, 1.0F, 1.0078125F, -0.10009765625F, 0, 0x1.FEp127F, -0x1.FEp127F});
  CHECK(publisher.Release(wanted) == published.model);
}

}  // namespace
}  // namespace fl::server
