#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "fl/common/base/clock.h"
#include "fl/common/base/digest.h"
#include "fl/common/wire/ids.h"
#include "fl/common/wire/messages.h"

// The rows that all of a federation's state consists of. Numbers of enumerations are stored: append
// only.
namespace fl::server {

enum class FederationState : std::uint8_t {
  kRunning = 1,      // Opens rounds.
  kPaused = 2,       // The open round goes on; no other opens.
  kDeploying = 3,    // All rounds are published; clients get their deploy tasks.
  kDone = 4,         // Nothing is left to wait for; latecomers still get their deploy task.
  kStopped = 5,      // Ended by an admin: no task any more.
  kCalibrating = 6,  // Between running and deploying: clients find ranges together.
};

struct FederationRow {
  std::string name;
  Digest plan;  // SHA-256 of the plan's text, which is a blob.
  std::string plan_text;
  FederationState state = FederationState::kRunning;
  std::uint64_t version = 0;    // The published model.
  std::uint64_t published = 0;  // Rounds that were published.
  std::uint64_t round = 0;      // The newest round; 0: none yet.
  std::uint64_t clients = 0;    // How many client rows there are.
  std::uint64_t abandoned = 0;  // Rounds abandoned in a row.
  TimePoint created_at{};
  TimePoint deploying_at{};  // When clients got the first of their last tasks: kCalibrating's, then
                             // kDeploying's.
  // A blob: what the clients of the next round share; absent: what the recipe alone gives.
  std::optional<Digest> parameters;
  std::uint64_t fence = 0;  // Grows by one with each transaction; written by Commit alone.
};

enum class RoundState : std::uint8_t {
  kSelecting = 1,
  kCollecting = 2,
  kFolding = 3,
  kPublished = 4,
  kAbandoned = 5,
};

struct RoundRow {
  std::string federation;
  std::uint64_t number = 0;
  RoundState state = RoundState::kSelecting;
  std::uint64_t phase = 0;         // Index in the plan's phases; the last one collects.
  std::uint64_t base_version = 0;  // The model that the cohort trains from.
  std::uint64_t version = 0;       // The version that the round published.
  std::uint64_t cohort = 0;
  std::uint64_t accepted = 0;
  std::uint64_t examples = 0;  // Sum over the accepted updates.
  bool goal_reached = false;
  TimePoint opened_at{};
  TimePoint deadline_at{};  // Of the phase.
  TimePoint closed_at{};
  TimePoint published_at{};
  std::optional<double> loss_trained;  // Mean training loss of the clients' last epoch.
  std::optional<double> loss_before;   // Of the base model on the clients' hold-out.
  std::optional<double> accuracy_before;
  std::optional<Digest> parameters;  // A blob, as in FederationRow: those of this round's tasks.
};

struct ClientRow {
  std::string federation;
  std::string name;  // The last segment of the certificate's URI.
  TimePoint first_seen{};
  TimePoint last_seen{};
  std::uint64_t accepted = 0;  // Updates.
  bool told_done = false;
};

enum class TaskState : std::uint8_t { kOpen = 1, kAccepted = 2 };

// A task; the train tasks of a round are its cohort, one slot each.
struct TaskRow {
  std::uint64_t id = 0;
  std::string federation;
  wire::TaskKind kind = wire::TaskKind::kTrain;
  TaskState state = TaskState::kOpen;
  std::uint64_t round = 0;
  std::uint64_t slot = 0;
  std::string client;
  std::uint64_t base_version = 0;
  std::uint64_t reserved_bytes = 0;  // 0: nothing reserved.
  Digest digest;                     // Of the reserved or accepted update.
  std::uint64_t committed = 0;       // Bytes that are durable.
  std::uint64_t attempt = 0;         // How often such bytes were thrown away.
  std::uint64_t counted_round = 0;   // Once accepted: the round that it counts in.
  std::uint64_t position =
      0;  // Once accepted: its place in that round's fold; group = position / 32.
  std::uint64_t examples = 0;
  TimePoint accepted_at{};
};

// A phase message that a client sent.
struct PhaseRow {
  std::uint64_t task = 0;
  std::uint64_t phase = 0;
  std::string federation;
  std::uint64_t round = 0;
  Bytes body;
};

// A version: the model that clients train from and the one that is released. The values of each are
// the blob of the same digest for as long as they are needed.
struct ModelRow {
  std::string federation;
  std::uint64_t version = 0;
  Digest digest;            // Of the published model.
  std::uint64_t bytes = 0;  // Of each of the two.
  std::uint64_t round = 0;
  std::optional<double> loss;  // The server's own evaluation of the released model.
  std::optional<double> accuracy;
  Digest released;  // Of the released model; the published one's where that is released.
  std::optional<double> loss_published;  // The server's own evaluation of the published model.
  std::optional<double> accuracy_published;
  // What clients measured of the released model on their hold-out.
  std::uint64_t clients_examples = 0;
  double clients_loss_sum = 0;        // Over those examples.
  std::uint64_t clients_correct = 0;  // Examples.
};

// Which model of a version.
enum class Edition : std::uint8_t { kPublished = 0, kReleased = 1 };

// A blob with the change from one published model to another version's.
struct ChangeRow {
  std::string federation;
  std::uint64_t from = 0;
  std::uint64_t to = 0;
  Digest blob;
  std::uint64_t bytes = 0;
  Edition edition = Edition::kPublished;  // Of `to`.
};

// What a device said about its local model.
struct DeploymentRow {
  std::string federation;
  std::string client;
  std::uint64_t bytes = 0;
  double teacher_accuracy = 0;
  double local_accuracy = 0;
  bool installed = false;
};

// Bytes above TLS that went while a round was the newest one. `body` counts bodies alone, the
// others heads and bodies.
struct Traffic {
  std::uint64_t bytes_up = 0;
  std::uint64_t body_bytes_up = 0;
  std::uint64_t bytes_down = 0;
  std::uint64_t body_bytes_down = 0;
  std::uint64_t requests = 0;

  Traffic& operator+=(const Traffic& other);
  friend bool operator==(const Traffic&, const Traffic&) = default;
};

// A client some of whose last requests were refused for a fault of its own.
struct OffenderRow {
  std::string federation;
  std::string client;
  std::uint64_t offences = 0;  // In a row.
  TimePoint last_at{};
  TimePoint held_until{};  // Nothing is answered before that,
  bool denied = false;     // because there were too many.
};

// One such refusal, for the operator.
struct RefusedRow {
  std::string federation;
  TimePoint at{};
  std::uint64_t round = 0;
  std::string client;
  ErrorCode code = ErrorCode::kOk;
  ErrorDetail detail{};
  std::string message;
};

// Something that an operator may want to know later.
struct EventRow {
  std::string federation;
  TimePoint at{};
  std::uint64_t round = 0;
  std::string text;
};

}  // namespace fl::server
