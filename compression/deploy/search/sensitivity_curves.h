#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/compression/deploy/pass.h"
#include "fl/compression/deploy/search/search_space.h"

namespace fl::deploy {

// What the model loses by one treatment of one layer alone: the mean of KL(softmax(model's logits)
// || softmax(treated logits)) over held-out samples, after a short training.
struct SensitivityCurve {
  std::string layer;
  std::vector<std::size_t> kept;   // PrunableLayer::kept: all units first.
  std::vector<double> divergence;  // Of each, in nats, never falling; 0 first.
};

// A curve for each layer of the space. `steps`: of the training behind each removal, on
// inputs.training; at most 256 of the samples count. Each point is measured once; the search adds
// them up where it removes in several layers. The passes' errors; kUnavailable when stopped.
Result<std::vector<SensitivityCurve>> MeasureCurves(const SearchSpace& space,
                                                    const PassInputs& inputs,
                                                    const data::Subset& samples,
                                                    std::uint32_t steps);

}  // namespace fl::deploy
