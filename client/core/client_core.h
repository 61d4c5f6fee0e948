#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "fl/client/core/download.h"
#include "fl/client/core/upload.h"
#include "fl/client/deploy/deployment_job.h"
#include "fl/client/state/content_cache.h"
#include "fl/client/state/device_state.h"
#include "fl/client/train/training_job.h"
#include "fl/common/base/clock.h"
#include "fl/common/base/log.h"
#include "fl/common/net/message.h"
#include "fl/common/random/rng_stream.h"

namespace fl::client {

struct ClientOptions {
  std::string name;                            // Last segment of the certificate's URI.
  std::string federation;                      // Empty: the server's only one.
  std::string host;                            // HOST:PORT, for the Host header.
  std::uint32_t memory_mb = 0;                 // What a task may use; 0: not said.
  std::uint64_t parameters_max = 1ULL << 28U;  // A plan with a larger model is not taken.
  bool wait = true;             // Let the server hold a check-in while there is no task.
  bool stop_when_done = false;  // Finished once the federation is done; else go on checking in.
  std::size_t chunk_bytes = 1U << 20;  // Most bytes of body in one request or blob range.
  Duration backoff_base = std::chrono::seconds(1);  // Uniform in [0, min(cap, base * 2^failures)).
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
struct SaveState {};  // ClientCore::state() must be durable before the commands behind it run.
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
  std::string what;  // "trained", "evaluated", "calibrated", "installed", "accepted", ...
  std::uint64_t round = 0;
  std::uint64_t task = 0;
  std::uint32_t asked = 0;  // How many clients got the task.
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
// never trains again for an update that is staged. Thread safety: distinct objects safe.
class ClientCore {
 public:
  // `cache` outlives the core. kWrongState when the state belongs to another client or another
  // federation.
  static Result<ClientCore> Create(ClientOptions options, DeviceState state, ContentCache& cache);

  std::vector<ClientCommand> OnEvent(ClientEvent event, TimePoint now);
  const DeviceState& state() const { return state_; }
  // The plan that the device follows; null before the first task.
  const std::shared_ptr<const CheckedPlan>& plan() const { return plan_; }

 private:
  // What the device is doing; each but kNew, kJob and kFinished has a request to send.
  enum class Stage : std::uint8_t {
    kNew,
    kCheckIn,
    kPlan,
    kParameters,
    kModel,
    kJob,
    kUpload,
    kFinished
  };
  struct HeldParameters {  // What the clients of a round share, as it was downloaded.
    Digest digest;
    Bytes bytes;
  };

  ClientCore(ClientOptions options, DeviceState state, ContentCache& cache);

  void On(Started event);
  void On(ReplyArrived event);
  void On(TrainingDone event);
  void On(DeploymentDone event);
  void On(TimerFired event);

  // Step 1: check in and read the answer.
  net::Request CheckInRequest();
  void OnCheckInReply(const Result<net::Response>& reply);
  Result<> Bind(const wire::CheckInAnswer& answer);
  void AnswerPhase();

  // Step 2: get what the task still lacks, one thing at a time, then start it.
  void Advance();
  void OnDownloadReply(Result<net::Response> reply);
  Result<> TakeBlob(Bytes blob);
  Result<> FindModel();
  Result<> TakeModel(Result<NamedTensors> model);
  void HoldModel(std::shared_ptr<const NamedTensors> model);
  bool LacksParameters() const;
  Bytes TaskParameters() const;
  void StartTask();
  void StartDeploying();
  void BringResidualForward();
  std::uint64_t ResidualAge() const;

  // Steps 5 and 6: stage the update, bring it to the server, settle the residual.
  void StageUpdate(StagedUpdate staged, RecordActivity record);
  void OnUploadReply(const Result<net::Response>& reply);
  void SettleAccepted(std::uint64_t round);
  void SettleRefused(const Error& error);

  // Pace.
  void Send(Stage stage);
  void Fail(const Failure& failure);
  void Abandon(const Error& error);
  void CheckInLater(Duration pause = Duration::zero());  // Not before the server's window either.
  Duration DrawPause(std::uint32_t& in_a_row);           // The backoff after one more.
  void Wait(Duration duration);
  void Finish(Result<> outcome);
  void Log(LogLevel level, std::string message);
  RngStream NextDraw();

  ClientOptions options_;
  DeviceState state_;
  ContentCache* cache_;  // Outlives the core.
  Stage stage_ = Stage::kNew;
  bool waiting_ = false;  // For a timer, after which the stage's request is sent.
  Duration transfer_timeout_ = std::chrono::seconds(60);  // Of one piece; doubles when it is over.
  std::uint32_t failures_ = 0;                            // In a row, for the backoff.
  std::uint32_t abandoned_ = 0;                           // Tasks in a row, likewise.
  std::uint32_t refused_ = 0;  // Updates, of which something was wrong, in a row, likewise.
  std::uint64_t draws_ = 0;
  TimePoint now_;
  TimePoint next_check_in_;  // Drawn from the window of the last answer.
  std::optional<wire::Task> task_;
  TimePoint task_since_;                   // When it arrived,
  TimePoint job_since_;                    // when its job began,
  std::optional<TimePoint> upload_since_;  // and its upload; empty after a restart.
  std::optional<wire::PhaseMessage> phase_asked_;
  std::optional<wire::PhaseMessage> phase_answer_;  // For the next check-in.
  std::shared_ptr<const CheckedPlan> plan_;
  std::shared_ptr<const NamedTensors> model_;
  std::optional<HeldParameters> parameters_;  // The last ones; rounds may share them.
  std::optional<Download> download_;
  std::optional<Upload> upload_;
  std::vector<ClientCommand> commands_;
};

}  // namespace fl::client
