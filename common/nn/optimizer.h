#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/nn/instruction_set.h"
#include "fl/common/nn/plain_graph.h"

namespace fl::nn {

// Settings of stochastic gradient descent.
struct SgdConfig {
  double learning_rate = 0.1;  // > 0, finite.
  double momentum = 0;         // In [0, 1).
  double weight_decay = 0;     // L2, >= 0.
  double proximal = 0;         // FedProx's mu, >= 0 (Li et al. 2020, arXiv:1812.06127).
  double gradient_clip =
      0;  // Largest L2 norm of the loss's gradient with the proximal term; 0: no clipping.
  std::uint32_t warm_up_steps =
      0;  // The rate of step s (from 0) is scaled by (s + 1) / warm_up_steps while that is below 1.
  // kInvalidArgument names the field, the value and the range.
  Result<> Validate() const;
};

// The learning rate of a round: base * decay^(round - 1), by repeated multiplication; round >= 1.
double RoundLearningRate(double base, double decay, std::uint64_t round);

// Stochastic gradient descent, in this order:
//   g = gradient + proximal * (w - anchor);  scaled to norm gradient_clip where longer
//   g = g + weight_decay * w;   v = momentum * v + g;   w = w - rate * v
// Thread safety: distinct objects safe, shared objects unsafe.
class Sgd {
 public:
  // The config must be valid.
  Sgd(const SgdConfig& config, std::size_t parameter_count,
      InstructionSet instruction_set = BestInstructionSet());
  // Frozen parameters stay as they are, whatever their gradient and the weight decay.
  Sgd(const SgdConfig& config, const Graph& graph,
      InstructionSet instruction_set = BestInstructionSet());

  // One step. `gradient` is used as scratch. `anchor` holds the global parameters; it is read only
  // where proximal > 0 and may be empty otherwise.
  void Step(std::span<float> gradient, std::span<const float> anchor, std::span<float> parameters);

  std::uint64_t steps() const { return steps_; }

 private:
  SgdConfig config_;
  InstructionSet instruction_set_;
  std::vector<CoordinateRange> trained_;
  std::uint64_t steps_ = 0;
  std::vector<float> velocity_;
};

}  // namespace fl::nn
