#include "fl/compression/deploy/passes/mixed_precision.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <optional>

#include "fl/compression/deploy/allocate_bits.h"
#include "fl/compression/deploy/calibration_samples.h"
#include "fl/compression/deploy/estimate_latency.h"
#include "fl/compression/deploy/passes/weight_settings.h"
#include "fl/compression/deploy/search_bits.h"
#include "fl/compression/deploy/sensitivity.h"

namespace fl::deploy {
namespace {

using Choice = std::vector<std::size_t>;

// Bytes of a node's weight in a file, its scales aside.
double BytesOf(const nn::Graph& graph, std::size_t node, const nn::WeightSpec& spec) {
  const Shape& shape = graph.parameters[graph.nodes[node].parameters[0]].shape;
  const std::size_t channels = shape[shape.rank() - 1];
  const std::size_t depth = shape.count() / channels;
  const nn::WeightCoding coding{
      spec.bits, spec.scaling == nn::WeightScaling::kGroup ? spec.group : 0, spec.asymmetric};
  const std::size_t group_bytes = spec.bits == 8 ? 0 : spec.asymmetric ? 2 : 1;
  return static_cast<double>(channels *
                             (coding.row_bytes(depth) + coding.groups(depth) * group_bytes));
}

// Chooses a coding for each node with a weight.
class Chooser {
 public:
  // All outlive this object.
  Chooser(const MixedPrecisionConfig& config, const PassInputs& inputs, const WorkingModel& model)
      : config_(config),
        inputs_(inputs),
        model_(model),
        nodes_(WeightNodes(model.graph)),
        block_(CalibrationSamples(inputs, config.samples)),
        samples_{block_.values, block_.count} {}

  Result<> Prepare() {
    const std::size_t last = model_.graph.nodes.size() - 1;
    FL_TRY(logits_, nn::OutputsOf(model_.graph, model_.parameters, samples_, last));
    FL_TRY_OK(Costs());
    FL_TRY(const Sensitivity sensitivity, Losses());
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      for (std::size_t k = 0; k < config_.codings.size(); ++k)
        options_[i][k].loss = sensitivity.losses[i][k];
    }
    return {};
  }

  // Within the budget; the file's size is looked at, since a header's length depends on the rest.
  Result<Choice> Choose() {
    constexpr int kTries = 8;
    for (int tries = 0; tries < kTries; ++tries) {
      FL_TRY(Choice choice, ChooseOnce());
      if (config_.bytes_max == 0) return choice;
      FL_TRY(const double bytes, FileBytes(choice));
      const double excess = bytes - static_cast<double>(config_.bytes_max);
      if (excess <= 0) return choice;
      options_.back()[0].cost += excess;
    }
    return Error{ErrorCode::kInvalidArgument, "no choice of bits makes a file of " +
                                                  std::to_string(config_.bytes_max) + " bytes"};
  }

  // The most bits that all nodes may have.
  std::optional<Choice> Uniform() const {
    for (std::size_t k = config_.codings.size(); k-- > 0;) {
      Choice same(options_.size(), k);
      same.back() = 0;
      if (CostOf(same) <= budget_) return same;
    }
    return std::nullopt;
  }

  // Mean divergence of the outputs from those before rounding.
  Result<double> Divergence(std::span<const std::size_t> choice) const {
    if (inputs_.stop.load(std::memory_order_relaxed))
      return Error{ErrorCode::kUnavailable, "stopped"};
    const std::size_t last = model_.graph.nodes.size() - 1;
    FL_TRY(const RoundedWeights rounded,
           RoundWeights(model_.graph, model_.parameters, {{}, PrecisionOf(choice)}));
    FL_TRY(const std::vector<float> found,
           nn::OutputsOf(model_.graph, rounded.parameters, samples_, last));
    return LogitDivergence(logits_, found, model_.graph.output_shape().count());
  }

  std::map<std::string, nn::WeightSpec> PrecisionOf(std::span<const std::size_t> choice) const {
    std::map<std::string, nn::WeightSpec> precision;
    for (std::size_t i = 0; i < nodes_.size(); ++i)
      precision[model_.graph.nodes[nodes_[i]].name] = config_.codings[choice[i]];
    return precision;
  }

  double CostOf(std::span<const std::size_t> choice) const {
    double cost = 0;
    for (std::size_t i = 0; i < choice.size(); ++i) cost += options_[i][choice[i]].cost;
    return cost;
  }
  double budget() const { return budget_; }
  std::string_view unit() const { return config_.us_max > 0 ? "us" : "bytes"; }

 private:
  // Options without losses; behind the nodes' the cost that no choice changes.
  Result<> Costs() {
    for (const std::size_t node : nodes_) {
      options_.emplace_back();
      for (const nn::WeightSpec& coding : config_.codings)
        options_.back().push_back({BytesOf(model_.graph, node, coding), 0});
    }
    options_.push_back({{0, 0}});
    if (config_.us_max > 0) return CostsInTime();
    if (config_.bytes_max > 0) {
      const Choice least(options_.size(), 0);
      FL_TRY(const double bytes, FileBytes(least));
      options_.back()[0].cost = bytes - CostOf(least);
      budget_ = static_cast<double>(config_.bytes_max);
      return {};
    }
    const auto below = static_cast<std::uint8_t>(std::floor(config_.mean_bits));
    const double share = config_.mean_bits - below;
    for (const std::size_t node : nodes_) {
      const nn::WeightSpec& form = config_.codings.front();
      const double low = BytesOf(model_.graph, node, WithBits(form, below));
      const double high =
          BytesOf(model_.graph, node, WithBits(form, std::min<std::uint8_t>(8, below + 1)));
      budget_ += (1 - share) * low + share * high;
    }
    return {};
  }

  Result<> CostsInTime() {
    if (inputs_.profile == nullptr) {
      return Error{ErrorCode::kInvalidArgument,
                   "max_us: expected a device profile (fl-model probe writes one)"};
    }
    const HardwareProfile& profile = *inputs_.profile;
    FL_TRY(const std::vector<double> times, EstimateNodeLatency(profile, model_.graph, true));
    double rest = 0;
    for (const double time : times) rest += time;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      const double time = times[nodes_[i]];
      rest -= time;
      const double whole = BytesOf(model_.graph, nodes_[i], {});
      const double reading =
          time > 0 ? std::min(1.0, whole * 1e-3 / profile.memory_gbps / time) : 0;
      for (std::size_t k = 0; k < config_.codings.size(); ++k) {
        const std::string type = "int" + std::to_string(config_.codings[k].bits);
        const bool packed = std::ranges::find(profile.types, type) != profile.types.end();
        const double bytes = packed ? options_[i][k].cost : whole;
        options_[i][k].cost = time * (1 - reading * (1 - bytes / whole));
      }
    }
    options_.back()[0].cost = std::max(0.0, rest);
    budget_ = config_.us_max;
    return {};
  }

  Result<Sensitivity> Losses() const {
    const LabelledSamples labelled{samples_, block_.labels};
    switch (config_.by) {
      case BitsBy::kHessian:
        return SensitivityByHessian(model_.graph, model_.parameters, labelled, config_.codings,
                                    config_.probes, inputs_.rng.Child("hessian"));
      case BitsBy::kFisher:
        return SensitivityByFisher(model_.graph, model_.parameters, labelled, config_.codings);
      case BitsBy::kLogits:
      case BitsBy::kHardware:
      case BitsBy::kSearch:
        break;
    }
    return SensitivityByLogits(model_.graph, model_.parameters, samples_, config_.codings);
  }

  Result<Choice> ChooseOnce() const {
    FL_TRY(const Allocation start, Allocate(options_, budget_, unit()));
    if (config_.by != BitsBy::kSearch) return start.chosen;
    const MeasureLoss measure = [this](std::span<const std::size_t> chosen) {
      return Divergence(chosen);
    };
    FL_TRY(const Allocation found,
           SearchAllocation(options_, budget_, start, measure, config_.evaluations,
                            inputs_.rng.Child("search")));
    return found.chosen;
  }

  // Of the integer model with these codings; what its activations are like does not matter.
  Result<double> FileBytes(std::span<const std::size_t> choice) const {
    const std::vector<nn::ActivationRange> ranges(model_.graph.nodes.size(), {-1, 1});
    FL_TRY(const std::vector<nn::WeightSpec> specs,
           SpecsOf(model_.graph, {{}, PrecisionOf(choice)}));
    WorkingModel coded{.graph = model_.graph};
    FL_TRY(coded.quantized, nn::Quantize(model_.graph, model_.parameters, ranges, specs));
    return static_cast<double>(SerializeWorkingModel(coded, inputs_).size());
  }

  const MixedPrecisionConfig& config_;
  const PassInputs& inputs_;
  const WorkingModel& model_;
  std::vector<std::size_t> nodes_;
  SampleBlock block_;
  nn::SampleValues samples_;
  std::vector<float> logits_;
  std::vector<std::vector<LayerOption>> options_;
  double budget_ = 0;
};

Result<> ReadWidths(Fields& fields, const nn::WeightSpec& form,
                    const std::vector<std::string>& widths, MixedPrecisionConfig& config) {
  for (const std::string& width : widths) {
    const bool known = width.size() == 1 && width[0] >= '2' && width[0] <= '8';
    const auto bits = static_cast<std::uint8_t>(known ? width[0] - '0' : 0);
    if (!known || (!config.codings.empty() && bits <= config.codings.back().bits)) {
      return fields.Fail("widths", "expected bits from \"2\" to \"8\", ascending, found \"" +
                                       width.substr(0, 64) + "\"");
    }
    config.codings.push_back(WithBits(form, bits));
    if (const auto valid = config.codings.back().Validate(); !valid)
      return fields.Fail("widths", valid.error().message);
  }
  return {};
}

// Uniform 4 bits where the list names no budget.
Result<> CheckBudget(const Fields& fields, MixedPrecisionConfig& config) {
  const int budgets =
      (config.bytes_max > 0 ? 1 : 0) + (config.us_max > 0 ? 1 : 0) + (config.mean_bits > 0 ? 1 : 0);
  if (budgets > 1) return fields.Fail("by", "expected one of max_bytes, max_us and mean_bits");
  if (config.by == BitsBy::kHardware && config.us_max == 0)
    return fields.Fail("by", "\"hardware\" needs max_us, and a device profile beside the list");
  if (budgets == 0) config.mean_bits = 4;
  return {};
}

// The choice, or the most uniform one where that measures better; says so.
Result<Choice> BetterOf(const Chooser& chooser, const MixedPrecisionConfig& config, Choice chosen,
                        PassReport& report) {
  FL_TRY(const double divergence, chooser.Divergence(chosen));
  char text[160];
  std::snprintf(text, sizeof(text), "outputs diverge by %.3g", divergence);
  report.summary = text;
  report.figures.push_back({"divergence", divergence});
  const auto uniform = chooser.Uniform();
  if (!uniform) return chosen;
  FL_TRY(const double same, chooser.Divergence(*uniform));
  const int bits = config.codings[uniform->front()].bits;
  std::snprintf(text, sizeof(text), ", with %d bits for all by %.3g%s", bits, same,
                same < divergence ? ": these were taken" : "");
  report.summary += text;
  report.figures.push_back({"uniform_bits", static_cast<double>(bits)});
  report.figures.push_back({"uniform_divergence", same});
  return same < divergence ? *uniform : chosen;
}

Result<> Decide(const MixedPrecisionConfig& config, const PassInputs& inputs, WorkingModel& model,
                PassReport& report) {
  Chooser chooser(config, inputs, model);
  FL_TRY_OK(chooser.Prepare());
  FL_TRY(Choice chosen, chooser.Choose());
  FL_TRY(const Choice best, BetterOf(chooser, config, std::move(chosen), report));
  std::string bits;
  for (const auto& [node, spec] : chooser.PrecisionOf(best)) {
    bits += (bits.empty() ? "" : ", ") + node + " " + std::to_string(spec.bits);
    report.figures.push_back({node + ".bits", static_cast<double>(spec.bits)});
    model.precision[node] = spec;
  }
  const double cost = chooser.CostOf(best);
  char text[96];
  std::snprintf(text, sizeof(text), " bits; %.6g of %.6g %s; ", cost, chooser.budget(),
                std::string(chooser.unit()).c_str());
  report.summary = bits + text + report.summary;
  report.figures.push_back({"cost", cost});
  report.figures.push_back({"budget", chooser.budget()});
  return {};
}

}  // namespace

Result<std::shared_ptr<const Pass>> ReadMixedPrecision(Fields& fields) {
  MixedPrecisionConfig config;
  constexpr std::array<std::string_view, 5> kWays = {"hessian", "fisher", "kl", "hardware",
                                                     "search"};
  config.by = static_cast<BitsBy>(fields.Word("by", kWays, 2));
  nn::WeightSpec form;
  ReadScaling(fields, form);
  std::vector<std::string> widths = {"2", "3", "4", "8"};
  fields.Texts("widths", "[\"2\", \"4\", \"8\"]", widths);
  fields.Number("max_bytes", config.bytes_max, 1, 1e12);
  fields.Number("max_us", config.us_max, 1e-3, 1e9);
  fields.Number("mean_bits", config.mean_bits, 2, 8);
  fields.Number("samples", config.samples, 1, 1e6);
  fields.Number("probes", config.probes, 1, 10000);
  fields.Number("evaluations", config.evaluations, 1, 1e5);
  FL_TRY_OK(fields.Finish());
  FL_TRY_OK(ReadWidths(fields, form, widths, config));
  FL_TRY_OK(CheckBudget(fields, config));
  return std::shared_ptr<const Pass>(std::make_shared<MixedPrecision>(std::move(config)));
}

Result<> MixedPrecision::Run(const PassInputs& inputs, WorkingModel& model,
                             PassReport& report) const {
  const Result<> decided = Decide(config_, inputs, model, report);
  return decided ? decided : decided.error().At(name());
}

}  // namespace fl::deploy
