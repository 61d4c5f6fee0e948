#include "fl/compression/deploy/sensitivity.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "fl/common/nn/gradient.h"
#include "fl/common/nn/plain_graph.h"

namespace fl::deploy {
namespace {

// A step of finite differences, as a share of the weights' root mean square: small against the
// weights, large against the rounding of a gradient in fp32.
constexpr double kDifference = 0.01;

Result<> CheckLabelled(const nn::Graph& graph, std::span<const float> parameters,
                       const LabelledSamples& samples) {
  FL_TRY_OK(nn::CheckSamples(graph, parameters, samples.inputs, "precision"));
  if (graph.loss != nn::LossKind::kSoftmaxCrossEntropy) {
    return Error{ErrorCode::kUnsupported,
                 "precision: curvature is measured for classes; use the divergence of outputs"};
  }
  const auto classes = static_cast<std::int32_t>(graph.output_shape().count());
  const bool in_range = std::ranges::all_of(
      samples.labels, [&](std::int32_t label) { return label >= 0 && label < classes; });
  if (samples.labels.size() != samples.inputs.count || !in_range) {
    return Error{ErrorCode::kInvalidArgument,
                 "precision: expected a label below " + std::to_string(classes) +
                     " for each of the " + std::to_string(samples.inputs.count) + " samples"};
  }
  return {};
}

nn::TrainingBatch BatchOf(const LabelledSamples& samples, std::size_t features, std::size_t first,
                          std::size_t count) {
  nn::TrainingBatch batch;
  batch.count = count;
  batch.input = samples.inputs.values.subspan(first * features, count * features);
  batch.labels = samples.labels.subspan(first, count);
  batch.running_statistics = true;
  return batch;
}

// The gradient of the mean loss over all samples.
void MeanGradient(nn::TrainingStep& step, std::span<const float> parameters,
                  const LabelledSamples& samples, std::span<double> mean) {
  const std::size_t features = step.graph().input_shape().count();
  std::vector<float> gradient(parameters.size());
  std::ranges::fill(mean, 0.0);
  for (std::size_t first = 0; first < samples.inputs.count; first += step.batch_max()) {
    const std::size_t count = std::min(step.batch_max(), samples.inputs.count - first);
    step.Compute(parameters, BatchOf(samples, features, first, count), gradient);
    const double share = static_cast<double>(count) / static_cast<double>(samples.inputs.count);
    for (std::size_t i = 0; i < mean.size(); ++i)
      mean[i] += share * static_cast<double>(gradient[i]);
  }
}

// Calls visit(layer, coding, weight's offset, what rounding changes each value by) for all.
using ErrorVisitor =
    std::function<void(std::size_t, std::size_t, std::size_t, std::span<const float>)>;
Result<Sensitivity> VisitErrors(const nn::Graph& graph, std::span<const float> parameters,
                                std::span<const nn::WeightSpec> codings,
                                const ErrorVisitor& visit) {
  if (codings.empty())
    return Error{ErrorCode::kInvalidArgument, "precision: expected codings, found none"};
  Sensitivity sensitivity{WeightNodes(graph), {}};
  sensitivity.losses.assign(sensitivity.nodes.size(), std::vector<double>(codings.size(), 0.0));
  for (std::size_t i = 0; i < sensitivity.nodes.size(); ++i) {
    const nn::Node& node = graph.nodes[sensitivity.nodes[i]];
    const nn::WeightMatrix weight = nn::WeightOf(graph, node, parameters);
    std::vector<float> change(weight.values.size());
    for (std::size_t k = 0; k < codings.size(); ++k) {
      FL_TRY(const nn::WeightGrid grid,
             nn::FitWeightGrid(weight, codings[k], nn::ClipOf(codings[k])));
      nn::RoundToGrid(grid, weight.values, change);
      for (std::size_t j = 0; j < change.size(); ++j) change[j] -= weight.values[j];
      visit(i, k, graph.parameters.offset(node.parameters[0]), change);
    }
  }
  return sensitivity;
}

// The trace of one layer's part of the Hessian: signs v move that layer's weight alone.
double Trace(nn::TrainingStep& step, std::span<const float> parameters,
             const LabelledSamples& samples, const nn::CoordinateRange& weight,
             std::uint32_t probes, RngStream signs) {
  const double size = NormL2(parameters.subspan(weight.first, weight.count)) /
                      std::sqrt(static_cast<double>(weight.count));
  const auto length = static_cast<float>(std::max(kDifference * size, 1e-8));
  std::vector<double> ahead(parameters.size());
  std::vector<double> behind(parameters.size());
  std::vector<float> moved(parameters.begin(), parameters.end());
  std::vector<float> sign(weight.count);
  double trace = 0;
  for (std::uint32_t probe = 0; probe < probes; ++probe) {
    for (float& value : sign) value = (signs.NextU32() & 1U) != 0 ? length : -length;
    const auto move = [&](float by) {
      for (std::size_t i = 0; i < weight.count; ++i)
        moved[weight.first + i] = parameters[weight.first + i] + by * sign[i];
    };
    move(1);
    MeanGradient(step, moved, samples, ahead);
    move(-1);
    MeanGradient(step, moved, samples, behind);
    for (std::size_t i = 0; i < weight.count; ++i) {
      trace += static_cast<double>(sign[i]) * (ahead[weight.first + i] - behind[weight.first + i]);
    }
  }
  return trace / (2 * static_cast<double>(length) * static_cast<double>(length) * probes);
}

double SumOfSquares(std::span<const float> values) {
  const double norm = NormL2(values);
  return norm * norm;
}

Result<> CheckFinite(const Sensitivity& sensitivity) {
  for (const std::vector<double>& losses : sensitivity.losses) {
    for (const double loss : losses) {
      if (!std::isfinite(loss))
        return Error{ErrorCode::kNotFinite, "precision: a layer's sensitivity is not finite"};
    }
  }
  return {};
}

}  // namespace

Result<Sensitivity> SensitivityByHessian(const nn::Graph& graph, std::span<const float> parameters,
                                         const LabelledSamples& samples,
                                         std::span<const nn::WeightSpec> codings,
                                         std::uint32_t probes, const RngStream& rng) {
  FL_TRY_OK(CheckLabelled(graph, parameters, samples));
  if (probes == 0)
    return Error{ErrorCode::kInvalidArgument, "precision: expected at least 1 probe, found 0"};
  constexpr std::size_t kBatch = 64;
  FL_TRY(nn::TrainingStep step,
         nn::TrainingStep::Create(graph, std::min(kBatch, samples.inputs.count)));
  std::size_t known = graph.nodes.size();  // The layer of `mean_curvature`.
  double mean_curvature = 0;
  std::vector<std::vector<double>> losses(WeightNodes(graph).size());
  FL_TRY(
      Sensitivity sensitivity,
      VisitErrors(
          graph, parameters, codings,
          [&](std::size_t layer, std::size_t, std::size_t offset, std::span<const float> change) {
            if (layer != known) {
              const double trace = Trace(step, parameters, samples, {offset, change.size()}, probes,
                                         rng.Child("probe", layer));
              mean_curvature = std::max(trace, 0.0) / static_cast<double>(change.size());
              known = layer;
            }
            losses[layer].push_back(mean_curvature * SumOfSquares(change));
          }));
  sensitivity.losses = std::move(losses);
  FL_TRY_OK(CheckFinite(sensitivity));
  return sensitivity;
}

Result<Sensitivity> SensitivityByFisher(const nn::Graph& graph, std::span<const float> parameters,
                                        const LabelledSamples& samples,
                                        std::span<const nn::WeightSpec> codings) {
  FL_TRY_OK(CheckLabelled(graph, parameters, samples));
  FL_TRY(nn::TrainingStep step, nn::TrainingStep::Create(graph, 1));
  std::vector<float> gradient(parameters.size());
  std::vector<double> fisher(parameters.size(), 0.0);
  for (std::size_t i = 0; i < samples.inputs.count; ++i) {
    step.Compute(parameters, BatchOf(samples, graph.input_shape().count(), i, 1), gradient);
    for (std::size_t k = 0; k < fisher.size(); ++k)
      fisher[k] += static_cast<double>(gradient[k]) * static_cast<double>(gradient[k]);
  }
  const auto count = static_cast<double>(samples.inputs.count);
  std::vector<std::vector<double>> losses;
  FL_TRY(Sensitivity sensitivity,
         VisitErrors(graph, parameters, codings,
                     [&](std::size_t layer, std::size_t, std::size_t offset,
                         std::span<const float> change) {
                       double loss = 0;
                       for (std::size_t k = 0; k < change.size(); ++k) {
                         const auto moved = static_cast<double>(change[k]);
                         loss += fisher[offset + k] / count * moved * moved;
                       }
                       losses.resize(layer + 1);
                       losses[layer].push_back(loss);
                     }));
  sensitivity.losses = std::move(losses);
  FL_TRY_OK(CheckFinite(sensitivity));
  return sensitivity;
}

Result<Sensitivity> SensitivityByLogits(const nn::Graph& graph, std::span<const float> parameters,
                                        const nn::SampleValues& samples,
                                        std::span<const nn::WeightSpec> codings) {
  FL_TRY_OK(nn::CheckSamples(graph, parameters, samples, "precision"));
  const std::size_t output = graph.nodes.size() - 1;
  FL_TRY(const std::vector<float> wanted, nn::OutputsOf(graph, parameters, samples, output));
  std::vector<std::vector<double>> losses;
  Result<> run;
  std::vector<float> moved(parameters.begin(), parameters.end());
  FL_TRY(
      Sensitivity sensitivity,
      VisitErrors(
          graph, parameters, codings,
          [&](std::size_t layer, std::size_t, std::size_t offset, std::span<const float> change) {
            if (!run) return;
            for (std::size_t k = 0; k < change.size(); ++k) moved[offset + k] += change[k];
            const auto found = nn::OutputsOf(graph, moved, samples, output);
            std::ranges::copy(parameters.subspan(offset, change.size()),
                              moved.begin() + static_cast<std::ptrdiff_t>(offset));
            if (!found) {
              run = found.error();
              return;
            }
            losses.resize(layer + 1);
            losses[layer].push_back(LogitDivergence(wanted, *found, graph.output_shape().count()));
          }));
  FL_TRY_OK(run);
  sensitivity.losses = std::move(losses);
  FL_TRY_OK(CheckFinite(sensitivity));
  return sensitivity;
}

double LogitDivergence(std::span<const float> wanted, std::span<const float> found,
                       std::size_t classes) {
  const auto log_sum = [](std::span<const float> row) {
    const auto most = static_cast<double>(std::ranges::max(row));
    double sum = 0;
    for (const float value : row) sum += std::exp(static_cast<double>(value) - most);
    return most + std::log(sum);
  };
  double divergence = 0;
  for (std::size_t first = 0; first < wanted.size(); first += classes) {
    const auto p = wanted.subspan(first, classes);
    const auto q = found.subspan(first, classes);
    const double p_sum = log_sum(p);
    const double q_sum = log_sum(q);
    for (std::size_t k = 0; k < classes; ++k) {
      const double p_log = static_cast<double>(p[k]) - p_sum;
      divergence += std::exp(p_log) * (p_log - (static_cast<double>(q[k]) - q_sum));
    }
  }
  const std::size_t samples_count = wanted.size() / classes;
  return divergence / static_cast<double>(samples_count);
}

}  // namespace fl::deploy
