#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "fl/common/base/clock.h"
#include "fl/common/base/log.h"
#include "fl/common/base/thread_pool.h"
#include "fl/compression/check_plan.h"
#include "fl/server/report/report.h"
#include "fl/simulations/federation/device_actor.h"
#include "fl/simulations/federation/federation_data.h"
#include "fl/simulations/federation/server_actor.h"
#include "fl/simulations/federation/shared_contents.h"
#include "fl/simulations/federation/update_recorder.h"

namespace fl::sim {

struct SimulationOptions {
  std::size_t threads = 1;  // That compute, the caller of Run among them, >= 1.
  RecordOptions record;     // Of accepted updates.
};

// What is known of a round once it is published and, where the server measures, measured.
struct RoundSeen {
  std::uint64_t round = 0;      // Number; abandoned ones count.
  std::uint64_t published = 0;  // Rounds so far.
  std::uint64_t accepted = 0;
  double loss = -1;            // < 0: not known.
  double accuracy = -1;        // In [0, 1]; < 0: not known.
  std::uint64_t bytes_up = 0;  // Heads and bodies, since the start.
  double seconds = 0;          // Wall time since the start.
};

// A whole federation in one process: the server core and as many client cores as the plan has
// devices, over modelled links and a virtual clock. All that happens is an event in one queue, in
// an order that depends on the plan alone; workers only compute. So the model has the same bits on
// any number of threads, and the same as with fl-server and fl-client on the same shares of the
// data and the same processor. Thread safety: one call at a time; `stop` may be set at any time
// from anywhere.
class Simulation {
 public:
  struct Services {
    Clock& clock;                   // Wall time, for the report. All outlive the simulation.
    const std::atomic<bool>& stop;  // Set: Run returns soon.
    const Logger& log;
  };

  // kShapeMismatch when the samples are not what the model takes; else the errors of the cores and
  // of the storage.
  static Result<std::unique_ptr<Simulation>> Create(const std::shared_ptr<const CheckedPlan>& plan,
                                                    FederationData data, SimulationOptions options,
                                                    Services services);

  // Plays until the last device was told that the federation is done, or until `stop`. When no
  // round was published: kTimeout after a hundred times the plan's deadline, kNotFinite after three
  // trainings a device that diverged. kIo when an update could not be recorded.
  Result<> Run(const std::function<void(const RoundSeen&)>& on_round);

  bool done() const { return server_->done(); }
  // What the server's storage says, with `seconds` by the wall clock.
  Result<server::Report> Report();
  // The published model as a model file.
  Result<Bytes> ExportModel();

  const DeviceActor& device(std::size_t index) const { return *devices_[index]; }
  std::size_t devices() const { return devices_.size(); }
  TimePoint now() const { return queue_.now(); }

 private:
  Simulation(const Plan& plan, FederationData data, SimulationOptions options, Services services);

  Result<> HandleServer();
  // kTimeout or kNotFinite where Run is to give up.
  Result<> CheckProgress();
  Result<RoundSeen> Look(std::uint64_t round);

  FederationData data_;
  SimulationOptions options_;
  Services services_;
  Queue queue_;
  SharedContents cache_;
  std::unique_ptr<ServerActor> server_;
  std::unique_ptr<UpdateRecorder> recorder_;  // Null: none.
  std::vector<std::unique_ptr<DeviceActor>> devices_;
  std::function<void(const RoundSeen&)> on_round_;
  TimePoint started_;                             // Wall time.
  std::map<std::uint64_t, TimePoint> published_;  // Wall time by round.
  std::uint64_t unseen_ = 0;    // A published round that is still to be shown; 0: none.
  TimePoint progress_;          // Virtual time of the last published round.
  std::uint64_t diverged_ = 0;  // Trainings since then that ended without a finite model.
  Error last_diverged_;
  ThreadPool pool_;  // Last: its jobs refer to what stands above.
};

}  // namespace fl::sim
