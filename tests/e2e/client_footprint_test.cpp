#include <sstream>

#include <doctest/doctest.h>

#include "fl/tests/e2e/fleet.h"

namespace fl::testing {
namespace {

// VmRSS of a process in kB, as /proc says.
std::size_t ResidentKilobytes(pid_t id) {
  std::istringstream lines(ReadText("/proc/" + std::to_string(id) + "/status"));
  std::string word;
  std::size_t kilobytes = 0;
  while (lines >> word) {
    if (word == "VmRSS:") lines >> kilobytes;
  }
  return kilobytes;
}

// The build leaves this file out under sanitizers, which need memory of their own.
TEST_CASE("Client: waiting for a round takes less than 12 MB of memory") {
  Fleet fleet(DigitsPlan(8));
  fleet.StartServer();
  fleet.StartDevice(0);
  fleet.AwaitClients(1);
  REQUIRE(fleet.device(0).Runs());
  const std::size_t kilobytes = ResidentKilobytes(fleet.device(0).id());
  CAPTURE(kilobytes);
  CHECK(kilobytes > 0);
  CHECK(kilobytes < 12 * 1024);
}

}  // namespace
}  // namespace fl::testing
