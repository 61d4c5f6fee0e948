#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/data/subset.h"
#include "fl/common/nn/gradient.h"
#include "fl/common/nn/graph.h"
#include "fl/common/nn/training_hook.h"
#include "fl/common/random/rng_stream.h"
#include "fl/compression/deploy/fields.h"
#include "fl/compression/deploy/pass.h"

namespace fl::deploy {

// Settings of the one training loop that passes share. With a teacher (Hinton et al. 2015,
// arXiv:1503.02531)
//   L = alpha * crossentropy(z, label) + (1 - alpha) * T^2 * KL(softmax(z_t / T) || softmax(z / T))
// and without one L = crossentropy(z, label).
struct FineTuneConfig {
  std::uint32_t epochs = 10;    // Passes over the training samples, >= 1.
  std::uint32_t steps = 0;      // Steps in all; 0: as many as the epochs have.
  std::uint32_t batch = 32;     // Samples a step, >= 1.
  double learning_rate = 0.05;  // After the warm-up, > 0; halved when a run fails.
  double momentum = 0.9;        // In [0, 1).
  double weight_decay = 0;      // L2, in [0, 1].
  double alpha = 0.3;           // Weight of the labels beside a teacher, in [0, 1].
  double temperature = 4;       // T, in [1, 20].
  bool standardize = false;     // Logits are standardized before T divides them (nn::Distillation).
  std::uint32_t warmup = 50;    // Steps in which the learning rate rises to its value.
  double clip = 1.0;            // Largest L2 norm of a step's gradient, > 0.
};

// Reads `epochs`, `steps`, `batch`, `learning_rate`, `momentum`, `weight_decay`, `alpha`,
// `temperature`, `standardize`, `warmup`, `clip`; Fields::Finish tells of errors.
void ReadFineTuneConfig(Fields& fields, FineTuneConfig& config);

// One step, as a hook sees it.
struct FineTuneStep {
  std::size_t step = 0;   // From 0; begins anew with each attempt.
  std::size_t steps = 0;  // In all.
  double learning_rate = 0;
  const nn::TrainingBatch& batch;
};

// What a technique adds to the loop. The object must outlive the call. Called in this order within
// a step: Teach, Feed, Transform, the passes forward and backward (which call inner()), Adjust, the
// step itself, Stepped.
class FineTuneHook {
 public:
  virtual ~FineTuneHook() = default;
  // Sees and changes inner values and their gradients; null: none.
  virtual nn::TrainingHook* inner() { return nullptr; }
  // Before each attempt.
  virtual void Begin() {}
  // May replace the teacher's logits of this batch (count x classes; empty without a teacher).
  virtual void Teach(const FineTuneStep& /*step*/, std::span<float> /*logits*/) {}
  // May change the batch's inputs (count x input shape), of which the batch has its own copy.
  virtual void Feed(const FineTuneStep& /*step*/, std::span<float> /*inputs*/) {}
  // `used` begins as a copy of the parameters; what the hook makes of them (rounded ones, say) is
  // what the batch is computed with. The gradient that arises there then moves the parameters
  // themselves: a straight-through estimator (Bengio et al. 2013, arXiv:1308.3432).
  virtual void Transform(const FineTuneStep& /*step*/, std::span<float> /*used*/) {}
  // Sees the gradient with respect to `used`; may add another loss's gradient, and returns that
  // loss. `outputs` are the batch's logits.
  virtual double Adjust(const FineTuneStep& /*step*/, std::span<const float> /*used*/,
                        std::span<const float> /*outputs*/, std::span<float> /*gradient*/) {
    return 0;
  }
  // After the step; may change the parameters. Masks hold again afterwards.
  virtual void Stepped(const FineTuneStep& /*step*/, std::span<float> /*parameters*/) {}
};

using MaskMap = std::map<std::string, std::vector<std::uint8_t>>;

// All are references that outlive the call.
struct FineTuneInputs {
  const nn::Graph& graph;
  std::span<const float> start;    // Empty: drawn anew for each attempt.
  const MaskMap& masks;            // By tensor; what they remove stays zero.
  std::optional<Teacher> teacher;  // None: labels alone.
  const data::Subset& training;
  RngStream rng;
  const std::atomic<bool>& stop;
  FineTuneHook* hook = nullptr;
  bool running_statistics = false;  // Batch norms keep theirs, as in inference.
};

struct FineTuned {
  std::vector<float> parameters;  // Of graph.
  std::size_t steps = 0;
  unsigned attempts = 1;     // More than one: the learning rate was halved so many times less one.
  double learning_rate = 0;  // Of the last attempt.
  double loss_first = 0;     // Mean over the first and over the last tenth of the steps.
  double loss_last = 0;
  bool converged = false;  // False: every attempt failed; the parameters are those of the last.
};

// What the teacher says about the samples: count x classes, in their order. Session's errors.
Result<std::vector<float>> TeacherLogits(const Teacher& teacher, const data::Subset& samples);

// Trains: warm-up, then the full learning rate, then a tenth of it for the last quarter of the
// steps; gradients clipped. An attempt fails when its loss is not finite, when it began with drawn
// weights and neither it nor the cross entropy fell by a tenth, or when it ends where a constant
// answer is (cross entropy against the labels of at least 0.95 ln(classes)) and began better. Then
// another begins with half the learning rate, four in all. Same inputs, same bits on one machine
// and build. kInvalidArgument without samples, kShapeMismatch or kNotFound for masks or logits that
// do not fit, kUnavailable when `stop` was set. Thread safety: pure function but for the hook.
Result<FineTuned> FineTune(const FineTuneConfig& config, const FineTuneInputs& inputs);

// "26,698 parameters, 90 steps, learning rate 0.05, attempt 1, loss 2.302 -> 0.104", and the
// figures of it.
void ReportFineTuned(const FineTuned& outcome, PassReport& report);

}  // namespace fl::deploy
