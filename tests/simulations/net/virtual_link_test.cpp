#include "fl/simulations/net/virtual_link.h"

#include <doctest/doctest.h>

namespace fl::sim {
namespace {

TEST_CASE("VirtualLink: a message takes latency plus bytes over bandwidth") {
  VirtualLink link(
      {.bits_per_second_up = 1e6, .bits_per_second_down = 8e6, .latency = Duration(20000)});
  CHECK(link.SendUp(FromMicroseconds(100), 125000) == FromMicroseconds(100 + 20000 + 1000000));
  CHECK(link.SendDown(FromMicroseconds(100), 125000) == FromMicroseconds(100 + 20000 + 125000));
}

TEST_CASE("VirtualLink: messages in one direction leave one after the other") {
  VirtualLink link(
      {.bits_per_second_up = 1e6, .bits_per_second_down = 0, .latency = Duration(1000)});
  CHECK(link.SendUp(FromMicroseconds(0), 1250) == FromMicroseconds(11000));
  CHECK(link.SendUp(FromMicroseconds(5000), 1250) == FromMicroseconds(21000));
  CHECK(link.SendUp(FromMicroseconds(50000), 1250) == FromMicroseconds(61000));
}

TEST_CASE("VirtualLink: without limits a message arrives at once") {
  VirtualLink link({});
  CHECK(link.SendUp(FromMicroseconds(3), 1U << 30) == FromMicroseconds(3));
}

}  // namespace
}  // namespace fl::sim
