#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "fl/common/config/plan.h"
#include "fl/common/data/subset.h"
#include "fl/common/nn/graph.h"
#include "fl/common/random/rng_stream.h"
#include "fl/common/tensor/tensor.h"
#include "fl/compression/narrowing.h"

namespace fl::client {

// What local training made of the received model.
struct LocalDelta {
  NamedTensors delta;          // Local minus global; zero where the graph is frozen.
  double loss = 0;             // Mean over the last epoch's samples, each before its step.
  std::uint64_t examples = 0;  // Samples trained on, each once an epoch: the update's weight.
};

// Step 3: stochastic gradient descent over the local samples, by the plan's [training].
// Thread safety: shared objects safe.
class Trainer {
 public:
  // All outlive the trainer. `round` sets the learning rate; once `stop` is true, training ends
  // with kUnavailable. `scaled`: weights that count more in this network than in the whole one.
  Trainer(const nn::Graph& graph, const TrainingConfig& training, std::uint64_t round,
          const std::atomic<bool>& stop, std::span<const ScaledRange> scaled = {})
      : graph_(graph), training_(training), round_(round), stop_(stop), scaled_(scaled) {}

  // Epoch e goes over the samples in the order that rng.Child("epoch", e) shuffles them to. Same
  // model, samples and stream: same bits on one machine and build. The samples fit the graph
  // (fl::CheckFits). kInvalidArgument when there are none, kNotFinite when the model diverged.
  Result<LocalDelta> Train(const NamedTensors& model, const data::Subset& samples,
                           const RngStream& rng) const;

 private:
  const nn::Graph& graph_;
  const TrainingConfig& training_;
  std::uint64_t round_;
  const std::atomic<bool>& stop_;
  std::span<const ScaledRange> scaled_;
};

}  // namespace fl::client
