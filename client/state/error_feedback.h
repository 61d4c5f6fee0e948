#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fl/common/random/rng_stream.h"
#include "fl/common/tensor/tensor.h"
#include "fl/common/wire/update.h"
#include "fl/compression/encode_segments.h"
#include "fl/compression/recipe.h"

namespace fl::client {

// An update's coordinates as they travel, and what the codecs left out of it.
struct EncodedDelta {
  std::vector<wire::UpdateEntry> entries;
  // "NAME: RECIPE, N bytes, K % of the energy kept" of each segment that `auto` wrote.
  std::vector<std::string> settings;
  double kept = 1;  // Share of the energy of all of them: 1 - |left out|^2 / |values|^2.
  std::shared_ptr<const NamedTensors>
      residual;  // Null where nothing is left out or it is not to be kept.
};

// Error feedback (EF14; Seide et al. 2014; Karimireddy et al. 2019, arXiv:1901.09847): what a lossy
// codec leaves out of one update is added to the next one, so that in the long run everything
// arrives:
//
//   sum of what was acknowledged + residual = sum of all deltas          (with clipping: of all
//   clipped sums)
//
// The life cycle is in DeviceState: the new residual is staged with the update, becomes the
// residual when the server has acknowledged, and is given back together with what was sent when the
// server has refused. Thread safety: immutable; shared objects safe.
class ErrorFeedback {
 public:
  // A null residual counts as zero. Inactive: nothing is added and nothing is kept.
  ErrorFeedback(std::shared_ptr<const NamedTensors> residual, bool active)
      : residual_(active ? std::move(residual) : nullptr), active_(active) {}

  // delta += residual, tensor by tensor, by name; a tensor of the residual that the delta does not
  // have, or has in another shape, is left out.
  void Compensate(NamedTensors& delta) const;

  // Encodes each segment of `update` (all values finite) by its codec, with rng.Child("segment",
  // s). The residual of the result is update - decoded, of the tensors that segments cover.
  // `room`: as EncodeSegments takes it.
  EncodedDelta Encode(const NamedTensors& update, const SegmentPlan& recipe,
                      const RoundParameters& parameters, const RngStream& rng,
                      const UpdateRoom& room = {}) const;

  // What an update, as wire::EncodeUpdate made it, brings to the server: the tensors that segments
  // cover, decoded. Errors are wire::DecodeUpdate's and Codec::Parse's.
  static Result<std::shared_ptr<const NamedTensors>> DecodeOwn(ByteSpan update,
                                                               const SegmentPlan& recipe,
                                                               const RoundParameters& parameters);

  // For a refused update, as wire::EncodeUpdate made it: what was sent plus what was left out,
  // which is the residual from now on. Errors are DecodeOwn's, and kShapeMismatch when what was
  // left out is of other tensors.
  static Result<std::shared_ptr<const NamedTensors>> GiveBack(
      ByteSpan update, const std::shared_ptr<const NamedTensors>& left_out,
      const SegmentPlan& recipe, const RoundParameters& parameters);

 private:
  // Shared with the device's state, which may go on while a job computes on another thread.
  std::shared_ptr<const NamedTensors> residual_;
  bool active_;
};

// out += factor x tensors, tensor by tensor, by name; one that `out` does not have, or has in
// another shape, is left out. Null counts as zero.
void AddScaled(const std::shared_ptr<const NamedTensors>& tensors, float factor, NamedTensors& out);

// Brings a residual to another model's layout: tensors are found by name and shape. Null when none
// fits; `dropped` counts the tensors that were lost.
std::shared_ptr<const NamedTensors> RemapResidual(
    const std::shared_ptr<const NamedTensors>& residual, const TensorLayout& layout,
    std::size_t& dropped);

}  // namespace fl::client
