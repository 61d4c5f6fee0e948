#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/random/rng_stream.h"
#include "fl/compression/deploy/allocate_bits.h"

namespace fl::deploy {

// The loss of the whole model under a choice of one option a layer, as measured.
using MeasureLoss = std::function<Result<double>(std::span<const std::size_t> chosen)>;

// Looks for choices that measure better than the sum of single losses promised (HAQ, Wang et al.
// 2019, arXiv:1811.08886, without reinforcement learning: models have few layers). A population of
// 8 starts from `start` and its neighbours; each child changes one or two layers' options, is
// brought back under the budget, is measured unless it was before, and takes the place of the
// worst. At most `evaluations` measurements; the start is the first of them, so that the result is
// never worse. Errors: those of Allocate for layers and budget, and of `measure`. Same stream, same
// result.
Result<Allocation> SearchAllocation(std::span<const std::vector<LayerOption>> layers, double budget,
                                    const Allocation& start, const MeasureLoss& measure,
                                    std::uint32_t evaluations, RngStream rng);

}  // namespace fl::deploy
