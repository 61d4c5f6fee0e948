#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "fl/client/state/device_speed.h"
#include "fl/common/base/digest.h"
#include "fl/common/tensor/tensor.h"
#include "fl/common/wire/messages.h"

namespace fl::client {

// A published model whose bits the device has; they lie in the ContentCache.
struct HeldModel {
  std::uint64_t version = 0;
  Digest digest;
  friend bool operator==(const HeldModel&, const HeldModel&) = default;
};

// An encoded update that waits for the server's acknowledgement, and the residual that holds from
// then on.
struct StagedUpdate {
  std::uint64_t task = 0;
  wire::TaskKind kind = wire::TaskKind::kTrain;
  std::uint64_t round = 0;
  Digest plan;             // Whose recipe it was encoded by.
  Bytes round_parameters;  // What it was encoded with; empty where its recipe needs none.
  Bytes update;            // wire::EncodeUpdate's bytes.
  std::shared_ptr<const NamedTensors> residual;  // Shared with the job's result; null: zero.
  std::shared_ptr<const NamedTensors> velocity;  // As it was added; likewise.
};

// For the device's owner: `fl-client info`.
struct DeviceCounters {
  std::uint64_t check_ins = 0;
  std::uint64_t trained = 0;
  std::uint64_t evaluated = 0;
  std::uint64_t deployed = 0;
  std::uint64_t accepted = 0;
  std::uint64_t refused = 0;
  std::uint64_t residual_tensors_dropped = 0;  // Did not fit a new model.
  std::uint64_t bytes_up = 0;                  // Of request bodies and heads.
  friend bool operator==(const DeviceCounters&, const DeviceCounters&) = default;
};

struct DeviceStateLimits {
  std::uint64_t bytes_max = 1ULL << 34;
  std::size_t tensors_max = 65536;
  std::size_t text_bytes_max = 4096;
};

// All that a device keeps between tasks, as one value. Written as
//
//   state = "FLDS" schema:u16 body:bytes crc:u32 over all before it
//
// An idle device's is under 4 KiB. Thread safety: distinct objects safe.
struct DeviceState {
  // Schema 1, without residual_round and velocity, 2, without velocity, and 3, without speed, are
  // read too.
  static constexpr std::uint16_t kSchema = 4;

  std::string client;      // The name in its certificate; empty in a new state.
  std::string federation;  // Empty until the first answer.
  std::optional<Digest> plan;
  std::optional<HeldModel> model;
  Digest residual_graph;  // Of the layout that the residual has; LayoutDigest.
  std::shared_ptr<const NamedTensors> residual;  // Null: zero. Shared with a job under way.
  std::uint64_t residual_round = 0;              // Whose update changed it last; 0: unknown.
  std::shared_ptr<const NamedTensors> velocity;  // Of the residual's tensors; null: zero.
  std::optional<StagedUpdate> staged;
  DeviceCounters counters;
  DeviceSpeed speed;

  Bytes Encode() const;
  // kMalformed, kDigestMismatch (CRC), kWrongVersion (written by a newer program), kLimitExceeded,
  // kNotFinite.
  static Result<DeviceState> Decode(ByteSpan bytes, const DeviceStateLimits& limits = {});
};

// SHA-256 over the names and shapes.
Digest LayoutDigest(const TensorLayout& layout);

// SHA-256 of the values as little-endian fp32: how a model is named.
Digest ModelDigest(std::span<const float> values);

}  // namespace fl::client
