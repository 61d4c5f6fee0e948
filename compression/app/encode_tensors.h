#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/tensor/tensor.h"
#include "fl/common/wire/update.h"
#include "fl/compression/recipe.h"

namespace fl::codec_app {

// One segment of an update: what it holds and what it cost.
struct SegmentRow {
  std::string name;
  std::string shape;
  std::string recipe;
  std::size_t count = 0;  // Values.
  std::size_t bytes = 0;  // Of the payload.
  double energy = 0;      // Sum of the squared values.
  double error = 0;       // Sum of the squared errors.

  double bits() const { return 8 * static_cast<double>(bytes) / static_cast<double>(count); }
  // Squared error over energy; 0 for values that are all zero.
  double nmse() const { return energy > 0 ? error / energy : 0; }
};

struct EncodedTensors {
  wire::Update update;  // One stream, the delta; task, base and examples are 0.
  std::vector<SegmentRow> rows;
  // All rows as one, named "all"; bytes are those of the payloads.
  SegmentRow Total() const;
};

// The recipe of a segment of a plan made by SegmentPlan::Create from these rules.
std::string RecipeOf(const CompressionConfig& compression, const Segment& segment);

// Encodes the tensors as a client does in a round: the same seed gives the same bytes.
// kNotFinite names the tensor that holds a NaN or an infinity.
Result<EncodedTensors> EncodeTensors(const SegmentPlan& plan, const CompressionConfig& compression,
                                     const NamedTensors& tensors, std::uint64_t seed);

// What the update's delta says, zero where it has no segment: the errors of Codec::Parse, with the
// segment's name.
Result<NamedTensors> DecodeTensors(const SegmentPlan& plan, const wire::UpdateView& update);

}  // namespace fl::codec_app
