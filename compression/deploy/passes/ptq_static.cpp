#include "fl/compression/deploy/passes/ptq_static.h"

#include <array>

#include "fl/common/nn/calibrate.h"
#include "fl/compression/deploy/calibration_samples.h"
#include "fl/compression/deploy/passes/weight_settings.h"

namespace fl::deploy {
namespace {

constexpr std::array<std::string_view, 5> kObservers = {"minmax", "moving_average", "percentile",
                                                        "mse", "kl"};

void ApplyLearnedRanges(const WorkingModel& model, std::span<nn::ActivationRange> ranges) {
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    const auto learned = model.ranges.find(model.graph.nodes[i].name);
    if (learned != model.ranges.end()) ranges[i] = learned->second;
  }
}

// A parameter of one observer, set beside another.
Result<> CheckObserver(const Fields& fields, const PtqStaticConfig& config) {
  const auto only = [&](std::string_view key, nn::RangeMethod method) -> Result<> {
    if (config.ranges.method == method) return {};
    return fields.Fail(key, "only observer = \"" +
                                std::string(kObservers[static_cast<std::size_t>(method)]) +
                                "\" has it");
  };
  if (config.ranges.percentile != 0) FL_TRY_OK(only("percentile", nn::RangeMethod::kPercentile));
  if (config.moving_share != PtqStaticConfig().moving_share)
    FL_TRY_OK(only("moving_share", nn::RangeMethod::kMovingAverage));
  return {};
}

void ReadRanges(Fields& fields, PtqStaticConfig& config) {
  constexpr std::array<std::string_view, 2> kRanges = {"own", "federation"};
  config.federation = fields.Word("ranges", kRanges, 0) == 1;
}

Result<> CheckRanges(const Fields& fields, const PtqStaticConfig& config) {
  if (!config.federation) return {};
  if (fields.use() == PassListUse::kFile) {
    return fields.Fail("ranges",
                       "\"federation\" is for the pass list of a plan, whose devices find them "
                       "together; expected \"own\"");
  }
  if (config.ranges.method == nn::RangeMethod::kMovingAverage) {
    return fields.Fail("ranges",
                       "\"federation\": a moving average depends on the order of samples, which "
                       "those of many devices do not have; expected another observer");
  }
  return {};
}

std::string DescribeSamples(std::size_t count) {
  std::string text = "calibrated on " + std::to_string(count) + " samples";
  if (count < nn::kCalibrationSamplesFew) {
    text += " (warning: fewer than " + std::to_string(nn::kCalibrationSamplesFew) +
            ", so ranges may be off)";
  }
  return text;
}

}  // namespace

Result<std::shared_ptr<const Pass>> ReadPtqStatic(Fields& fields) {
  PtqStaticConfig config;
  fields.Number("samples", config.samples, 1, 1e6);
  config.ranges.method = static_cast<nn::RangeMethod>(fields.Word(
      "observer", kObservers, static_cast<std::size_t>(nn::RangeMethod::kSquaredError)));
  fields.Number("percentile", config.ranges.percentile, 50.001, 100);
  fields.Number("moving_share", config.moving_share, 1e-6, 1);
  fields.Flag("symmetric_activations", config.ranges.symmetric);
  ReadRanges(fields, config);
  const WeightSettings weights(fields, config.weights.spec);
  FL_TRY(config.weights, weights.Finish());
  FL_TRY_OK(CheckObserver(fields, config));
  FL_TRY_OK(CheckRanges(fields, config));
  return std::shared_ptr<const Pass>(std::make_shared<PtqStatic>(std::move(config)));
}

Result<> PtqStatic::Run(const PassInputs& inputs, WorkingModel& model, PassReport& report) const {
  if (inputs.profile != nullptr && !HasType(*inputs.profile, "int8")) {
    return Error{ErrorCode::kUnsupported,
                 "ptq_static: the device of the profile has no int8, so the list must do without"};
  }
  const auto plan = PlanFor(model, config_.weights);
  if (!plan) return plan.error().At(name());
  const auto specs = SpecsOf(model.graph, *plan);
  if (!specs) return specs.error().At(name());
  report.summary = "weights of " + DescribeCodings(model.graph, *specs) + ", activations of 8, ";
  auto ranges = FindRanges(inputs, model, report);
  if (!ranges) return ranges.error().At(name());
  ApplyLearnedRanges(model, *ranges);
  auto quantized = nn::Quantize(model.graph, model.current_parameters(), *ranges, *specs,
                                model.rounded ? model.rounded->grids : nn::WeightGrids());
  if (!quantized) return quantized.error().At(name());
  model.quantized = *std::move(quantized);
  report.figures.push_back({"weight_bits", MeanBits(model.graph, *specs)});
  return {};
}

Result<std::vector<nn::ActivationRange>> PtqStatic::FindRanges(const PassInputs& inputs,
                                                               const WorkingModel& model,
                                                               PassReport& report) const {
  const std::size_t nodes = model.graph.nodes.size();
  std::vector<nn::ActivationRange> ranges(nodes);
  std::vector<std::size_t> open;  // Nodes that the federation has not looked at.
  open.reserve(nodes);
  for (std::size_t i = 0; i < nodes; ++i) {
    const auto found = model.federation_ranges.find(model.graph.nodes[i].name);
    const bool known = config_.federation && found != model.federation_ranges.end();
    if (known) {
      ranges[i] = found->second;
    } else {
      open.push_back(i);
    }
  }
  std::size_t samples = 0;
  if (!open.empty()) {
    const SampleBlock own = CalibrationSamples(inputs, config_.samples);
    FL_TRY(const nn::Calibration calibration,
           nn::Calibrate(model.graph, model.current_parameters(), own.values, own.count,
                         config_.moving_share));
    FL_TRY(const auto observed, calibration.Ranges(config_.ranges));
    for (const std::size_t i : open) ranges[i] = observed[i];
    samples = own.count;
  }
  if (open.empty()) {
    report.summary += "over the federation's ranges";
  } else if (open.size() < nodes) {
    report.summary += "over the federation's ranges for " + std::to_string(nodes - open.size()) +
                      " of " + std::to_string(nodes) + " nodes, the others " +
                      DescribeSamples(samples);
  } else {
    report.summary += DescribeSamples(samples);
    if (config_.federation && inputs.federation_ranges == nullptr)
      report.summary += "; there are no ranges of the federation";
    if (config_.federation && inputs.federation_ranges != nullptr)
      report.summary +=
          "; the federation's ranges are of the model as it was before other passes "
          "replaced or rescaled it";
  }
  report.figures = {{"samples", static_cast<double>(samples)}};
  if (config_.federation)
    report.figures.push_back({"federation_ranges", static_cast<double>(nodes - open.size())});
  return ranges;
}

}  // namespace fl::deploy
