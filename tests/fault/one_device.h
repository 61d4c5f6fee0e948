#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "fl/client/core/client_core.h"
#include "fl/client/train/training_job.h"
#include "fl/tests/fault/history.h"
#include "fl/tests/fault/small_fleet.h"

namespace fl::fault {

// Plays one device, "device-1000", to the end of its federation. `carry` brings a request to the
// server and back at the time `now`, which the device's pauses move on.
inline void PlayOneDevice(const server::FederationPlan& plan, std::size_t chunk_bytes,
                          TimePoint& now, History& history,
                          const std::function<Result<net::Response>(const net::Request&)>& carry) {
  client::ClientOptions options;
  options.name = "device-1000";
  options.stop_when_done = true;
  options.chunk_bytes = chunk_bytes;
  client::MemoryContentCache cache;
  auto device = fl::testing::Get(client::ClientCore::Create(options, {}, cache));
  const client::LocalData data = SmallShares(plan, 1).front();
  const std::atomic<bool> stop = false;
  std::optional<client::ClientEvent> next = client::Started{};
  while (next) {
    for (auto& command : device.OnEvent(*std::exchange(next, std::nullopt), now)) {
      if (const auto* send = std::get_if<client::SendRequest>(&command)) {
        next = client::ReplyArrived{carry(send->request)};
      } else if (const auto* train = std::get_if<client::StartTraining>(&command)) {
        history.Trained(train->job.task.id);
        next = client::TrainingDone{client::RunTraining(train->job, data, stop)};
      } else if (const auto* wait = std::get_if<client::WaitUntil>(&command)) {
        now = wait->time;
        next = client::TimerFired{};
      } else if (std::holds_alternative<client::SaveState>(command) && device.state().staged) {
        history.Staged(*device.state().staged);
      }
    }
  }
}

}  // namespace fl::fault
