#pragma once

#include <functional>
#include <span>
#include <string>

#include "fl/compression/recipe.h"

namespace fl {

// One segment, encoded. Spans hold during the call that hands it over.
struct EncodedSegment {
  std::size_t segment = 0;  // In the plan.
  Bytes payload;
  std::span<const float> values;
  std::span<const float> decoded;  // What a decoder will see.
  std::string setting;             // As what `auto` wrote it; empty for other recipes.
};

// Encodes each segment of a flat vector in the plan's layout (finite values) by its codec, with
// rng.Child("segment", s), and hands it to `take`, each once: first those with a recipe of their
// own, then those of `auto`, which share what is left of their budget. `other_bytes`: what the
// update's body takes beside the payloads and the directory's entries of these segments. The same
// arguments, the same bytes.
void EncodeSegments(const SegmentPlan& plan, std::span<const float> flat,
                    const RoundParameters& parameters, const RngStream& rng,
                    std::size_t other_bytes, const std::function<void(EncodedSegment)>& take);

}  // namespace fl
