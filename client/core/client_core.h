#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "fl/client/deploy/deployment_job.h"
#include "fl/client/state/content_cache.h"
#include "fl/client/state/device_state.h"
#include "fl/client/train/training_job.h"
#include "fl/common/base/clock.h"
#include "fl/common/base/log.h"
#include "fl/common/net/message.h"

namespace fl::client {

struct ClientOptions {
  std::string name;             // Last segment of the certificate's URI.
  std::string federation;       // Empty: the server's only one.
  std::string host;             // HOST:PORT, for the Host header.
  std::uint32_t memory_mb = 0;  // What a task may use; 0: not said.
  bool wait = true;             // Let the server hold a check-in while there is no task.
  bool stop_when_done = false;  // Finished once the federation is done; else go on checking in.
  std::size_t chunk_bytes = 1U << 20;  // Most bytes of body in one request or blob range.
  Duration backoff_base =
      std::chrono::seconds(1);  // Full jitter: uniform in [0, min(cap, base * 2^failures)).
  Duration backoff_cap = std::chrono::minutes(5);
};

// What happens to a device.
struct Started {};
struct ReplyArrived {
  Result<net::Response> response;  // An Error: no answer came.
};
struct TrainingDone {
  Result<TrainingResult> result;
};
struct DeploymentDone {
  Result<DeploymentResult> result;
};
struct TimerFired {};
using ClientEvent = std::variant<Started, ReplyArrived, TrainingDone, DeploymentDone, TimerFired>;

// What a device wants done, in this order. At most one of SendRequest, StartTraining,
// StartDeployment, WaitUntil and Finished is among the commands of one event, as the last one.
struct SaveState {
};  // ClientCore::state() must be durable before the commands behind this one run.
struct SendRequest {  // Answer with ReplyArrived.
  net::Request request;
  Duration timeout{};
};
struct StartTraining {  // RunTraining on the device's data; answer with TrainingDone.
  TrainingJob job;
};
struct StartDeployment {  // RunDeployment, `installed` filled in; answer with DeploymentDone.
  DeploymentJob job;
};
struct InstallModel {  // Durable and atomic; installing what is installed already changes nothing.
  Bytes model_file;
};
struct WaitUntil {  // Answer with TimerFired at that time or later.
  TimePoint time;
};
struct WriteLog {
  LogLevel level = LogLevel::kInfo;
  std::optional<std::uint64_t> round;
  std::string message;
};
// A line of the log that the device's owner can read: what ran here and what left the device.
struct RecordActivity {
  std::string what;  // "trained", "evaluated", "deployed", "accepted", "refused".
  std::uint64_t round = 0;
  std::uint64_t task = 0;
  std::uint32_t cohort = 0;  // How many clients were asked.
  std::uint64_t examples = 0;
  std::uint64_t update_bytes = 0;
  std::string detail;  // Metrics or the reason of a refusal, as words.
};
struct Finished {  // Nothing more will be asked for.
  Result<> outcome;
};
using ClientCommand = std::variant<SaveState, SendRequest, StartTraining, StartDeployment,
                                   InstallModel, WaitUntil, WriteLog, RecordActivity, Finished>;

// One device of a federation: a state machine without sockets, clock, files or threads. Its shell
// hands it what happened and the time, and does what it answers. Step 1 of an update's path starts
// here; the others follow from it:
//
//   check in -> (plan) -> (model) -> StartTraining -> staged: SaveState -> upload -> acknowledged:
//   SaveState -> check in ...
//
// Whatever comes from the server may be lost, late, repeated or garbage: no answer ends the
// program, and a request that got none is sent again (each is idempotent). What must survive a
// SIGKILL is in DeviceState: a core created from the last saved one goes on with the same bits and
// never trains again for an update that is staged. Thread safety: distinct objects safe, shared
// objects unsafe.
class ClientCore {
 public:
  // `cache` outlives the core. kWrongState when the state belongs to another client or another
  // federation.
  static Result<ClientCore> Create(ClientOptions options, DeviceState state, ContentCache& cache);
  ClientCore(ClientCore&&) noexcept;
  ClientCore& operator=(ClientCore&&) noexcept;
  ~ClientCore();

  std::vector<ClientCommand> OnEvent(ClientEvent event, TimePoint now);

  const DeviceState& state() const;
  // The plan that the device follows; null before the first task.
  std::shared_ptr<const CheckedPlan> plan() const;

 private:
  class Machine;
  explicit ClientCore(std::unique_ptr<Machine> machine);
  std::unique_ptr<Machine> machine_;
};

}  // namespace fl::client
