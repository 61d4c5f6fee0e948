#include <sstream>

#include <doctest/doctest.h>

#include "fl/tests/e2e/fleet.h"

namespace fl::testing {
namespace {

// A line of /proc/ID/status in kB, or 0 where there is none.
std::size_t Kilobytes(pid_t id, const std::string& field) {
  std::istringstream lines(ReadText("/proc/" + std::to_string(id) + "/status"));
  std::string word;
  std::size_t kilobytes = 0;
  while (lines >> word) {
    if (word == field + ":") lines >> kilobytes;
  }
  return kilobytes;
}

// The build leaves this file out under sanitizers, which need memory of their own. Two thirds of
// what is resident are pages of the system's libraries, which differ from one release to the next
// and which other processes share.
TEST_CASE("Client: waiting for a round takes less than 4 MB and with its libraries 16") {
  Fleet fleet(DigitsPlan(8));
  fleet.StartServer();
  fleet.StartDevice(0);
  fleet.AwaitClients(1);
  REQUIRE(fleet.device(0).Runs());
  const std::size_t own = Kilobytes(fleet.device(0).id(), "RssAnon");
  const std::size_t resident = Kilobytes(fleet.device(0).id(), "VmRSS");
  MESSAGE("RssAnon " << own << " kB, VmRSS " << resident << " kB");
  CHECK(own > 0);
  CHECK(own < 4 * 1024);
  CHECK(resident > own);
  CHECK(resident < 16 * 1024);
}

}  // namespace
}  // namespace fl::testing
