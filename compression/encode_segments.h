#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>

#include "fl/compression/recipe.h"

namespace fl {

// One segment, encoded. Spans hold during the call that hands it over.
struct EncodedSegment {
  std::size_t segment = 0;  // In the plan.
  Bytes payload;
  std::span<const float> values;
  std::span<const float> decoded;  // What a decoder will see; empty where nobody asked.
  std::string setting;             // As what `auto` wrote it; empty for other recipes.
};

// What an update's body may take.
struct UpdateRoom {
  std::size_t other_bytes = 0;  // Taken beside the payloads and the directory's entries of these
                                // segments.
  std::optional<std::uint64_t> bytes;  // In all, for this round and client; absent: what the plan
                                       // says at the most. Read where there is `auto`.
};

struct EncodeSegmentsOptions {
  UpdateRoom room;
  bool with_decoded = true;  // Else no codec is asked what a decoder will see.
};

// Encodes each segment of a flat vector in the plan's layout (finite values) by its codec, with
// rng.Child("segment", s), and hands it to `take`, each once: first those with a recipe of their
// own, then those of `auto`, which share what is left of the room. The same arguments, the same
// bytes.
void EncodeSegments(const SegmentPlan& plan, std::span<const float> flat,
                    const RoundParameters& parameters, const RngStream& rng,
                    const EncodeSegmentsOptions& options,
                    const std::function<void(EncodedSegment)>& take);

}  // namespace fl
