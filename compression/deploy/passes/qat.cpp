#include "fl/compression/deploy/passes/qat.h"

#include <algorithm>

#include "fl/common/nn/calibrate.h"
#include "fl/compression/deploy/calibration_samples.h"
#include "fl/compression/deploy/passes/weight_settings.h"

namespace fl::deploy {
namespace {

// What is shown of a scale to passes that ask for ranges.
nn::ActivationRange RangeOf(const nn::ActivationScale& scale) {
  return {scale.scale * static_cast<float>(-128 - scale.zero_point),
          scale.scale * static_cast<float>(127 - scale.zero_point)};
}

Result<> ExpectFolded(const nn::Graph& graph) {
  const auto norm = std::ranges::find(graph.nodes, nn::OpKind::kBatchNorm, &nn::Node::kind);
  if (norm == graph.nodes.end()) return {};
  return Error{ErrorCode::kUnsupported,
               "node " + norm->name +
                   ": a batch norm is rounded with the weights that it is folded into; expected "
                   "fold_batchnorm before qat"};
}

Result<> RoundAll(const QuantizationTraining& training, WorkingModel& model) {
  RoundedWeights rounded{training.Grids(), model.parameters};
  for (const auto& [name, grid] : rounded.grids) {
    const auto node = std::ranges::find(model.graph.nodes, name, &nn::Node::name);
    const std::size_t at = model.graph.parameters.offset(node->parameters[0]);
    const auto weight = std::span(rounded.parameters).subspan(at, grid.depth * grid.channels());
    nn::RoundToGrid(grid, weight, weight);
    model.precision[name] = grid.spec;
  }
  for (std::size_t i = 0; i < model.graph.nodes.size(); ++i)
    model.ranges[model.graph.nodes[i].name] = RangeOf(training.scales()[i]);
  model.rounded = std::move(rounded);
  return {};
}

}  // namespace

Result<std::shared_ptr<const Pass>> ReadQat(Fields& fields) {
  QatConfig config;
  fields.Flag("teacher", config.teacher);
  ReadFineTuneConfig(fields, config.training);
  fields.Flag("learned_steps", config.quantization.learned);
  fields.Number("observe", config.quantization.observe, 0, 1);
  fields.Number("moving_share", config.quantization.moving_share, 1e-6, 1);
  fields.Number("samples", config.samples, 1, 1e6);
  const WeightSettings weights(fields, {});
  FL_TRY(config.weights, weights.Finish());
  config.quantization.momentum = config.training.momentum;
  config.quantization.clip = config.training.clip;
  config.quantization.warmup = config.training.warmup;
  return std::shared_ptr<const Pass>(std::make_shared<Qat>(config));
}

Result<> Qat::Run(const PassInputs& inputs, WorkingModel& model, PassReport& report) const {
  if (const auto folded = ExpectFolded(model.graph); !folded) return folded.error().At(name());
  const SampleBlock samples = CalibrationSamples(inputs, config_.samples);
  auto ranges = nn::ObserveRanges(model.graph, model.parameters, samples.values, samples.count,
                                  nn::RangeMethod::kMinMax);
  if (!ranges) return ranges.error().At(name());
  if (model.rounded) {
    return Error{ErrorCode::kInvalidArgument,
                 "qat: the weights are rounded already; expected it before what rounds them"};
  }
  const auto plan = PlanFor(model, config_.weights);
  if (!plan) return plan.error().At(name());
  const auto specs = SpecsOf(model.graph, *plan);
  if (!specs) return specs.error().At(name());
  auto hook = QuantizationTraining::Create(model.graph, model.parameters, *std::move(ranges),
                                           *specs, config_.quantization);
  if (!hook) return hook.error().At(name());
  const auto outcome = FineTune(
      config_.training, {.graph = model.graph,
                         .start = model.parameters,
                         .masks = model.masks,
                         .teacher = config_.teacher ? std::optional(inputs.teacher) : std::nullopt,
                         .training = inputs.training,
                         .rng = inputs.rng,
                         .stop = inputs.stop,
                         .hook = &*hook});
  if (!outcome) return outcome.error().At(name());
  model.parameters = outcome->parameters;
  ReportFineTuned(*outcome, report);
  if (!outcome->converged) {
    report.refusal = "qat: training failed in every attempt";
    return {};
  }
  return RoundAll(*hook, model);
}

}  // namespace fl::deploy
