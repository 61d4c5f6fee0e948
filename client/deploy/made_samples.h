#pragma once

#include <atomic>
#include <string>

#include "fl/client/train/local_data.h"
#include "fl/common/base/result.h"
#include "fl/common/random/rng_stream.h"
#include "fl/compression/deploy/pass.h"

namespace fl::client {

// What a local model is made from and judged on.
struct DeploymentData {
  data::Subset training;
  data::Subset calibration;
  data::Subset verification;
  std::string line;  // For the report: what was made; empty: nothing.
};

// A device with fewer than `made_below` samples has too few to teach a local model, and to tell a
// good one from a bad one: 1,000 made ones join its own, labelled by the teacher's answers
// (data-free distillation, see deploy::SynthesizeSamples). The teacher's batch norms, or else the
// device's own samples, say what they have to look like. Four fifths are for training; the rest,
// never trained on, is for verification, where it measures agreement with the teacher. All samples
// are in the teacher's units. Otherwise the device's own as they are.
//
// Same inputs, same bits on one machine and build. Errors of SynthesizeSamples. Thread safety: pure
// function.
Result<DeploymentData> WithMadeSamples(const LocalData& own, std::uint32_t made_below,
                                       const deploy::Teacher& teacher, const RngStream& rng,
                                       const std::atomic<bool>& stop);

}  // namespace fl::client
