#pragma once

#include <string>
#include <vector>

#include "fl/tests/server/support/fake_fleet.h"

namespace fl::server::testing {

// Plays until the version is published.
inline void PlayTo(Server& server, const std::vector<std::string>& devices, std::uint64_t version) {
  for (int turn = 0; turn < 50 && server.federation().version < version; ++turn) {
    for (const std::string& device : devices) {
      if (server.federation().version == version) return;
      const wire::CheckInAnswer answer = CheckInAs(server, device);
      if (!answer.task) continue;
      const net::Response response =
          Put(server, device, answer.task->id, GoodUpdate(server.plan(), *answer.task, device));
      CHECK(response.status == 200);
    }
  }
  REQUIRE(server.federation().version == version);
}

}  // namespace fl::server::testing
