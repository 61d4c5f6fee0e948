#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "fl/common/base/result.h"
#include "fl/common/data/subset.h"
#include "fl/common/nn/evaluate.h"
#include "fl/common/nn/graph.h"
#include "fl/common/nn/quantized_model.h"

namespace fl::deploy {

// What a local model must reach to be installed.
struct Gate {
  double drop_points_max = 2.0;  // Below the teacher, percentage points, >= 0.
  std::uint64_t bytes_max = 0;   // Of the model file; 0: no bound.
};

// What was measured, on the verification samples alone.
struct Measured {
  double teacher_accuracy = 0;  // In [0, 1], fp32.
  double local_accuracy = 0;    // Of the model as it would be installed, by its own engine.
  double majority_share = 0;    // Of the most frequent class: what a constant answer would reach.
  std::uint64_t bytes = 0;      // Of the model file.
};

// Why a model is refused; empty when it is accepted: not further below the teacher than allowed,
// above the majority class (or without a mistake), and not too large.
std::string WhyRefused(const Measured& measured, const Gate& gate);

// How the fp32 model, or the integer model, answers the samples: the share of right answers and the
// mean cross entropy of softmax(output), in nats; both 0 without samples. A label beyond the
// model's outputs counts as answered wrongly, and makes the loss infinite.
Result<nn::Evaluation> Evaluate(const nn::Graph& graph, std::span<const float> parameters,
                                const data::Subset& samples);
Result<nn::Evaluation> Evaluate(const nn::QuantizedModel& model, const data::Subset& samples);
// The share of right answers alone.
Result<double> Accuracy(const nn::Graph& graph, std::span<const float> parameters,
                        const data::Subset& samples);
Result<double> Accuracy(const nn::QuantizedModel& model, const data::Subset& samples);
// Share of the most frequent label; 0 without samples.
double MajorityShare(const data::Subset& samples);

}  // namespace fl::deploy
