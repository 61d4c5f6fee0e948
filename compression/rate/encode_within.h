#pragma once

#include <span>
#include <string>
#include <vector>

#include "fl/common/random/rng_stream.h"
#include "fl/compression/codecs/adaptive.h"

// How `auto` divides an update's bytes among its segments.
namespace fl::rate {

// One segment that is to be written. Refers to all of it.
struct Source {
  const AdaptiveCodec& codec;
  std::span<const float> values;  // Finite, codec.count() of them.
  RngStream rng;
};

struct Written {
  Bytes payload;               // AdaptiveCodec's.
  std::vector<float> decoded;  // What the payload says.
  std::string setting;         // The recipe that it is written by; "nothing" where it is empty.
};

// Writes the segments in at most `bytes`, and in at least 95 % of that where so many make a
// difference. Counted are the payloads and, as in an update's directory, a varint of each one's
// length; `bytes` is at least 1 for each segment.
//
// 1. Candidates for each segment (rate/candidates.h): what each would cost and how much of the
// energy
//    it would keep.
// 2. For a price of a bit, each segment takes the candidate with the least
//      weight x energy lost + price x bits.
//    The price is found by bisection so that the bits are the budget.
// 3. All are encoded. Where the size is not in the budget's last 5 %, the price, if it is far off,
// or
//    all steps together are corrected, and they are encoded again: usually once.
// 4. Should none of kPassesMax encodings fit, which is for values made to that end, the largest
//    payloads are left out.
//
// Same sources and budget, same bytes.
std::vector<Written> EncodeWithin(std::span<const Source> sources, std::size_t bytes,
                                  std::size_t* passes = nullptr);

}  // namespace fl::rate
