#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace fl::nn {

// Losses over a batch, mean over its samples. Where `gradient` is not empty (as many values as
// logits) it receives the derivative of that mean. Sums run in double, in index order. Thread
// safety: pure functions.

// Labels in [0, classes). (Softmax, then the negative logarithm of the label's probability, in
// nats.)
double SoftmaxCrossEntropy(std::span<const float> logits, std::span<const std::int32_t> labels,
                           std::span<float> gradient);

// Mean over all values of (output - target)^2.
double MeanSquaredError(std::span<const float> outputs, std::span<const float> targets,
                        std::span<float> gradient);

// Distillation (Hinton et al. 2015, arXiv:1503.02531): hard_weight * CE + (1 - hard_weight) * T^2 *
// KL(teacher || student), both softened by the temperature T.
struct Distillation {
  float temperature = 4;     // > 0.
  float hard_weight = 0.1F;  // In [0, 1].
  // The soft part takes each sample's logits, of both, less their mean and over their standard
  // deviation (Sun et al. 2024, arXiv:2403.01427): a small student need not reach a confident
  // teacher's range. A row that is constant counts as zeros.
  bool standardize = false;
};
// An empty `labels` leaves out the hard part, its weight included (unlabelled data).
double DistillationLoss(std::span<const float> logits, std::span<const float> teacher_logits,
                        std::size_t classes, std::span<const std::int32_t> labels,
                        const Distillation& settings, std::span<float> gradient);

}  // namespace fl::nn
