#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fl/common/base/digest.h"
#include "fl/common/wire/ids.h"

// The bodies of the protocol's requests and answers (docs/protocol.md has the grammar). Each
// message declares its fields once, in serialize(); Encode and Decode run it over our checked
// archives: little-endian, counts checked against what remains before anything is sized by them,
// trailing bytes refused.
namespace fl::wire {

inline constexpr std::uint16_t kProtocolVersion = 1;

// How large a message may be; a decoder's parameter.
struct MessageLimits {
  std::size_t bytes_max = 64U << 10;
  std::size_t text_bytes_max = 1024;
  std::size_t list_max = 256;
  std::size_t phase_bytes_max = 16U << 10;
};

// One step of a round's phases: between check-in and answer, either way. What the bytes mean is the
// phase's own affair.
struct PhaseMessage {
  std::uint64_t round = 0;
  std::uint8_t phase = 0;  // Index in the plan's list of phases.
  std::vector<std::uint8_t> body;

  template <typename Archive>
  void serialize(Archive& archive) {
    archive(round, phase, body);
  }
  friend bool operator==(const PhaseMessage&, const PhaseMessage&) = default;
};

struct CheckInRequest {
  std::uint16_t protocol = kProtocolVersion;
  std::string federation;                     // Empty: the only one of the server.
  std::optional<std::uint64_t> version_held;  // A published version whose bits the client has.
  std::uint32_t memory_mb = 0;                // What a task may use; 0: not said.
  std::vector<std::uint8_t> codecs;  // Stage ids (compression/recipe.h) that the client has.
  bool wait = false;  // The client accepts that the answer takes up to 30 s when there is no task.
  std::optional<PhaseMessage> phase;

  template <typename Archive>
  void serialize(Archive& archive) {
    archive(protocol, federation, version_held, memory_mb, codecs, wait, phase);
  }
  friend bool operator==(const CheckInRequest&, const CheckInRequest&) = default;
};

enum class TaskKind : std::uint8_t { kTrain = 1, kEvaluate = 2, kDeploy = 3, kCalibrate = 4 };

// How to come by the model: version 0 from the plan's seed; from the version held plus a change; or
// whole.
struct ModelSource {
  std::uint64_t version = 0;
  Digest digest;                             // SHA-256 of the model's fp32 values in layout order.
  std::optional<std::uint64_t> change_from;  // The change's base, when `blob` is a change.
  std::optional<Digest> blob;  // Absent: version 0, or the version that the client holds.
  std::uint64_t blob_bytes = 0;

  template <typename Archive>
  void serialize(Archive& archive) {
    archive(version, digest, change_from, blob, blob_bytes);
  }
  friend bool operator==(const ModelSource&, const ModelSource&) = default;
};

struct Task {
  std::uint64_t id = 0;
  TaskKind kind = TaskKind::kTrain;
  std::uint64_t round = 0;
  std::uint32_t deadline_s = 0;  // From now, rounded up.
  std::uint32_t asked = 0;       // How many clients got this task, for the device's owner to see.
  ModelSource model;
  std::uint64_t recipe = 0;  // First 8 bytes of the recipe's digest; the plan holds the recipe.
  // A blob. Of train tasks: what the recipe needs, if anything; of deploy tasks: the ranges that
  // the federation's devices have found, if any (compression/deploy/federation_ranges.h).
  std::optional<Digest> round_parameters;

  template <typename Archive>
  void serialize(Archive& archive) {
    archive(id, kind, round, deadline_s, asked, model, recipe, round_parameters);
  }
  friend bool operator==(const Task&, const Task&) = default;
};

struct CheckInAnswer {
  std::uint16_t protocol = kProtocolVersion;
  std::string federation;
  Digest plan;                     // A blob: the plan's text.
  std::uint32_t again_min_ms = 0;  // The window for the next check-in, from now.
  std::uint32_t again_max_ms = 0;
  bool done =
      false;  // The federation has published its last round and has no task left for this client.
  std::optional<Task> task;
  std::optional<PhaseMessage> phase;

  template <typename Archive>
  void serialize(Archive& archive) {
    archive(protocol, federation, plan, again_min_ms, again_max_ms, done, task, phase);
  }
  friend bool operator==(const CheckInAnswer&, const CheckInAnswer&) = default;
};

// Reserve: announces an update too large for one request.
struct ReserveRequest {
  std::uint64_t bytes = 0;
  Digest digest;

  template <typename Archive>
  void serialize(Archive& archive) {
    archive(bytes, digest);
  }
  friend bool operator==(const ReserveRequest&, const ReserveRequest&) = default;
};

// The answer to reserve, PATCH, HEAD and commit. After commit (or a single-request upload)
// `accepted` is true: the update is durable and counts once. Repeating a request gives the same
// answer.
struct UploadAnswer {
  std::uint64_t committed = 0;  // Bytes that are durable: where the next PATCH starts.
  bool accepted = false;
  std::uint64_t round = 0;  // The round that the update counts in, once accepted.

  template <typename Archive>
  void serialize(Archive& archive) {
    archive(committed, accepted, round);
  }
  friend bool operator==(const UploadAnswer&, const UploadAnswer&) = default;
};

// Beside a Refusal, where there is one: the name of its ErrorDetail, in a header, so that clients
// that do not know of it go on.
inline constexpr const char* kDetailHeader = "Refusal-Detail";

// The body of every answer whose HTTP status is not 2xx.
struct Refusal {
  std::uint16_t code = 0;  // An ErrorCode.
  std::string message;
  std::uint32_t again_min_ms = 0;  // When to try again, where that can help; both 0: don't.
  std::uint32_t again_max_ms = 0;

  template <typename Archive>
  void serialize(Archive& archive) {
    archive(code, message, again_min_ms, again_max_ms);
  }
  friend bool operator==(const Refusal&, const Refusal&) = default;
};

template <typename Message>
Bytes Encode(const Message& message);
template <typename Message>
Result<Message> Decode(ByteSpan bytes, const MessageLimits& limits = {});

}  // namespace fl::wire
