#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/nn/visit_outputs.h"
#include "fl/common/nn/weight_grid.h"
#include "fl/common/random/rng_stream.h"
#include "fl/compression/deploy/round_weights.h"

namespace fl::deploy {

// What each layer's weight loses by each of some codings: losses[i][k] is the model's expected loss
// through coding k of layer nodes[i] alone. Codings lie on grids fitted by least squared error.
struct Sensitivity {
  std::vector<std::size_t> nodes;  // WeightNodes(graph).
  std::vector<std::vector<double>> losses;
};

struct LabelledSamples {
  nn::SampleValues inputs;
  std::span<const std::int32_t> labels;  // inputs.count of them.
};

// By curvature (HAWQ-V2, Dong et al. 2020, arXiv:1911.03852): Tr(H_l) / n_l * ||Q(W_l) - W_l||^2,
// the trace by Hutchinson's mean of v^T H v over `probes` random signs v, H v by central
// differences of the gradient. Samples are labelled; the loss is the graph's. A trace below zero
// counts as 0.
Result<Sensitivity> SensitivityByHessian(const nn::Graph& graph, std::span<const float> parameters,
                                         const LabelledSamples& samples,
                                         std::span<const nn::WeightSpec> codings,
                                         std::uint32_t probes, const RngStream& rng);

// By the Fisher information's diagonal: sum over the weights of mean g^2 * (Q(w) - w)^2, g a single
// sample's gradient. Near a minimum of cross entropy it is what the Hessian would say, at the price
// of one gradient a sample.
Result<Sensitivity> SensitivityByFisher(const nn::Graph& graph, std::span<const float> parameters,
                                        const LabelledSamples& samples,
                                        std::span<const nn::WeightSpec> codings);

// As measured: the mean of KL(softmax(fp32 logits) || softmax(logits with this layer coded)) over
// the samples. The most reliable on small models; costs a run over the samples for each layer and
// coding.
Result<Sensitivity> SensitivityByLogits(const nn::Graph& graph, std::span<const float> parameters,
                                        const nn::SampleValues& samples,
                                        std::span<const nn::WeightSpec> codings);

// All three: kInvalidArgument for samples, labels or codings that cannot be meant, kNotFinite.

// Mean over rows of KL(softmax(wanted) || softmax(found)), in nats.
double LogitDivergence(std::span<const float> wanted, std::span<const float> found,
                       std::size_t classes);

}  // namespace fl::deploy
