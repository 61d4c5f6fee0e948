#pragma once

#include <optional>
#include <span>
#include <vector>

#include "fl/common/random/rng_stream.h"
#include "fl/compression/codecs/adaptive.h"

namespace fl::rate {

// A way to write a segment, by a model: nothing is encoded.
struct Candidate {
  std::optional<AdaptiveSetting> setting;  // None: everything is left out.
  double bits = 0;  // With a small price for the time that the server takes to decode it.
  double lost = 1;  // Share of the energy, as far as it counts (see below), in [0, 1].
};

// A segment's candidates, and how much a share of its energy is worth.
struct Candidates {
  std::vector<Candidate> all;  // The first leaves everything out.
  double weight = 0;           // Of a share of the energy lost; 0 where all values are zero.
  double step_min = 0;         // No smaller step has room for the largest value.
};

// Rates and losses of the coded levels come from a histogram of |x| over the upper 11 bits of the
// float, those of low rank from the energy of the leading directions.
//
// Two things are not the message's squared error. What is left out of one update is sent with a
// later one, and low rank with coarse factors then trains better than other recipes of the same
// error. So
//   lost of low rank = (share lost)^max(1, step), the step at most 2: more directions come before
//                      finer ones,
// and a layer with small changes must not starve beside one with large ones, so what counts is the
// share of a segment's own energy: weight = rows + columns of a matrix, which is what a rank costs,
// the count of a vector.
//
// Ranks that cost more than `bits_max` are not looked at. `values` are codec.count() finite ones.
Candidates FindCandidates(const AdaptiveCodec& codec, std::span<const float> values,
                          double bits_max, const RngStream& rng);

}  // namespace fl::rate
