#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fl/common/base/bytes.h"
#include "fl/common/base/digest.h"
#include "fl/common/wire/ids.h"

// An update on the wire:
//
//   update    = header { stream } trailer
//   header    = "FLU" version:u8  task:u64  base:u64  recipe:u64  examples:varint  streams:varint
//   header_crc:u32 stream    = id:varint  entries:varint  { entry } { payload } entry     =
//   segment_step:varint  payload_bytes:varint        segment = previous + 1 + step (first: step)
//   trailer   = crc:u32 over all bytes before it
//
// `base` and `recipe` are the first 8 bytes of the base model's digest and of the recipe's. A
// stream's id is its index in the plan (0 delta, 1 metrics, then [[stream]] in order), ids strictly
// increasing. A segment is what one codec encodes (compression/recipe.h); segments that are absent
// are outside the update's slice of the model.
namespace fl::wire {

struct UpdateLimits {
  std::uint64_t bytes_max = 1ULL << 30;
  std::size_t streams_max = 16;
  std::size_t segments_max = 65536;  // In a stream, and how far apart two of them may be.
  std::size_t entries_max = 65536;   // In a stream of this plan: each costs memory of its own.
  std::uint64_t examples_max = 1ULL << 32;
};

inline constexpr std::uint64_t kStreamDelta = 0;
inline constexpr std::uint64_t kStreamMetrics = 1;
inline constexpr std::uint64_t kStreamPlanFirst = 2;
inline constexpr std::uint64_t kStreamCalibration = 65535;  // Of calibrate tasks, their only one.

struct UpdateEntry {
  std::uint64_t segment = 0;
  Bytes payload;
  friend bool operator==(const UpdateEntry&, const UpdateEntry&) = default;
};
struct UpdateStream {
  std::uint64_t id = 0;
  std::vector<UpdateEntry> entries;
  friend bool operator==(const UpdateStream&, const UpdateStream&) = default;
};
struct Update {
  TaskId task;
  std::uint64_t base = 0;
  std::uint64_t recipe = 0;
  std::uint64_t examples = 0;  // The update's weight.
  std::vector<UpdateStream> streams;
  friend bool operator==(const Update&, const Update&) = default;
};

Bytes EncodeUpdate(const Update& update);

// The same, in place: payloads are spans of `bytes`, which must outlive it.
struct UpdateEntryView {
  std::uint64_t segment = 0;
  ByteSpan payload;
};
struct UpdateStreamView {
  std::uint64_t id = 0;
  std::vector<UpdateEntryView> entries;
};
struct UpdateView {
  TaskId task;
  std::uint64_t base = 0;
  std::uint64_t recipe = 0;
  std::uint64_t examples = 0;
  std::vector<UpdateStreamView> streams;
};

// Checks the envelope: kMalformed (grammar, magic, trailing bytes), kWrongVersion, kLimitExceeded,
// kDigestMismatch (CRC), kShapeMismatch (entries_max). What the payloads hold is the codecs'
// affair.
Result<UpdateView> DecodeUpdate(ByteSpan bytes, const UpdateLimits& limits);

}  // namespace fl::wire
