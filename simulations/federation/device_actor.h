#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "fl/client/core/client_core.h"
#include "fl/client/train/local_data.h"
#include "fl/common/base/log.h"
#include "fl/common/base/thread_pool.h"
#include "fl/simulations/federation/device_cache.h"
#include "fl/simulations/federation/event.h"
#include "fl/simulations/federation/update_recorder.h"
#include "fl/simulations/net/virtual_link.h"
#include "fl/simulations/population/population.h"

namespace fl::sim {

// The shell of one client core in a simulation: its requests travel over a modelled link, its jobs
// run on the workers' pool and end when the speed model says, and now and then it vanishes during a
// task: it loses what it has not saved and comes back when the task's deadline is over. Thread
// safety: one call at a time.
class DeviceActor {
 public:
  struct Services {
    Queue& queue;  // All outlive the actor.
    ThreadPool& pool;
    const std::atomic<bool>& stop;
    client::ContentCache& cache;
    DeviceCache::Keep keep;  // Of the models that the device holds.
    const Logger& log;
    UpdateRecorder* recorder = nullptr;  // Null: accepted updates are not recorded.
  };
  struct Setup {
    std::uint32_t index = 0;
    std::uint64_t seed = 0;  // The plan's.
    DeviceProfile profile;
    std::uint32_t epochs = 1;
  };

  // Enters DeviceStarted at the present time.
  static Result<std::unique_ptr<DeviceActor>> Create(Setup setup, client::LocalData data,
                                                     Services services);

  // Errors: an accepted update that could not be recorded (kIo), a core that could not be made
  // again.
  Result<> Handle(Event event);
  // The server's answer leaves for the device.
  void Deliver(std::uint64_t id, net::Response response);

  bool finished() const { return finished_; }
  // Why a training has ended without a finite model; nothing again once it is taken.
  std::optional<Error> TakeDiverged() { return std::exchange(diverged_, std::nullopt); }
  const client::LocalData& data() const { return data_; }
  const client::DeviceState& state() const { return core_->state(); }
  // The installed local model; empty when there is none.
  const Bytes& installed() const { return installed_; }

 private:
  DeviceActor(Setup setup, client::LocalData data, Services services);

  Result<> Start();
  std::optional<client::ClientEvent> Translate(Event event);
  void Push(TimePoint time, Event event);
  bool Vanishes(const wire::Task& task);

  Result<> Do(client::SaveState);
  Result<> Do(client::SendRequest command);
  Result<> Do(client::StartTraining command);
  Result<> Do(client::StartDeployment command);
  Result<> Do(client::InstallModel command);
  Result<> Do(client::WaitUntil command);
  Result<> Do(const client::WriteLog& command);
  Result<> Do(const client::RecordActivity& command);
  Result<> Do(const client::Finished& command);
  void Run(Duration duration, std::function<client::ClientEvent()> job);

  Setup setup_;
  client::LocalData data_;
  Services services_;
  VirtualLink link_;
  DeviceCache cache_;
  std::unique_ptr<client::ClientCore> core_;
  client::DeviceState saved_;  // Kept only where the device may vanish.
  Bytes installed_;
  std::optional<client::StagedUpdate> staged_;  // The last one; kept only for the recorder.
  std::uint64_t exchange_ = 0;                  // The request that it waits for; 0: none.
  std::uint64_t exchanges_ = 0;                 // So far.
  std::uint64_t attempts_ = 0;                  // Tasks taken up so far.
  bool finished_ = false;
  std::optional<Error> diverged_;
};

}  // namespace fl::sim
