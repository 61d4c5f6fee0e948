#pragma once

#include <atomic>
#include <span>
#include <string>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/data/subset.h"
#include "fl/common/nn/graph.h"
#include "fl/common/random/rng_stream.h"
#include "fl/compression/deploy/pass_list.h"

namespace fl::deploy {

// The global model, as it came.
struct Teacher {
  const nn::Graph& graph;
  std::span<const float> parameters;
};

struct DistilledStudent {
  std::vector<float> parameters;  // Of config.student.
  std::size_t steps = 0;
  unsigned attempts = 1;     // More than one: the learning rate was halved so many times less one.
  double learning_rate = 0;  // Of the last attempt.
  double loss_first = 0;     // Mean over the first and over the last tenth of the steps.
  double loss_last = 0;
  bool converged = false;  // False: no attempt's loss fell; the parameters are those of the last.
};

// Trains the student on what the teacher says about the training samples: warm-up, then the full
// learning rate, then a tenth of it for the last quarter of the steps; gradients clipped. A loss
// that is not finite, or did not fall by a tenth, means another attempt with half the learning
// rate, four in all. Same inputs, same bits on one machine and build. kInvalidArgument without
// samples, kUnavailable when `stop` was set. Thread safety: pure function.
Result<DistilledStudent> Distil(const DistilConfig& config, const Teacher& teacher,
                                const data::Subset& training, const RngStream& rng,
                                const std::atomic<bool>& stop);

}  // namespace fl::deploy
