#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"
#include "fl/server/core/federation_plan.h"
#include "fl/server/journal/journal.h"

namespace fl::server {

// What the devices of a plan with `auto` chose in all published rounds, for the report. Stored as
//
//   tally   = updates:varint body_bytes:varint largest:varint segments:varint { segment }
//   segment = payload_bytes:varint choices:varint { key:varint times:varint }    keys ascending
//
// Thread safety: distinct objects safe.
struct AutoTally {
  static constexpr const char* kTensor = "report/auto";  // Its name in the storage.

  // A choice as it travels (AdaptiveChoice) and 1; 0: nothing was sent.
  using Key = std::uint16_t;
  struct Segment {
    std::uint64_t payload_bytes = 0;
    std::map<Key, std::uint64_t> choices;  // How often; empty where another recipe wrote it.
    friend bool operator==(const Segment&, const Segment&) = default;
  };
  std::uint64_t updates = 0;
  std::uint64_t body_bytes = 0;          // Of all of them.
  std::uint64_t body_bytes_largest = 0;  // Of one.
  std::vector<Segment> segments;         // The plan's, in its order.
  friend bool operator==(const AutoTally&, const AutoTally&) = default;

  // "low_rank 6", "nothing".
  static std::string NameOf(Key key);

  // Nothing counted yet.
  static AutoTally Of(const FederationPlan& plan);
  // Adds a round's accepted updates. kInternal when one does not decode: it was checked before it
  // was accepted.
  Result<> Count(const FederationPlan& plan, const std::vector<JournalEntry>& entries);

  Bytes Encode() const;
  // kInternal when the bytes are none that Encode wrote for the plan.
  static Result<AutoTally> Decode(const FederationPlan& plan, ByteSpan bytes);
};

}  // namespace fl::server
