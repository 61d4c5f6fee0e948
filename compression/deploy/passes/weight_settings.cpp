#include "fl/compression/deploy/passes/weight_settings.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <optional>
#include <sstream>

#include "fl/common/nn/calibrate.h"

namespace fl::deploy {
namespace {

constexpr std::array<std::string_view, 3> kGranularities = {"tensor", "channel", "group"};

std::optional<std::uint32_t> ParseCount(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// The words after a node's name; nothing when they cannot be meant.
std::optional<nn::WeightSpec> ParseCoding(std::istringstream& words,
                                          const nn::WeightSpec& otherwise) {
  std::string word;
  if (!(words >> word)) return std::nullopt;
  const auto bits = ParseCount(word);
  if (!bits || *bits < 2 || *bits > 8) return std::nullopt;
  nn::WeightSpec spec = WithBits(otherwise, static_cast<std::uint8_t>(*bits));
  while (words >> word) {
    const auto scaling = std::ranges::find(kGranularities, word);
    if (scaling != kGranularities.end()) {
      spec.scaling = static_cast<nn::WeightScaling>(scaling - kGranularities.begin());
    } else if (word == "symmetric" || word == "asymmetric") {
      spec.asymmetric = word == "asymmetric";
    } else if (const auto size = ParseCount(word);
               size && spec.scaling == nn::WeightScaling::kGroup) {
      spec.group = *size;
    } else {
      return std::nullopt;
    }
  }
  return spec;
}

}  // namespace

void ReadScaling(Fields& fields, nn::WeightSpec& spec) {
  spec.scaling = static_cast<nn::WeightScaling>(
      fields.Word("granularity", kGranularities, static_cast<std::size_t>(spec.scaling)));
  fields.Number("group", spec.group, 2, 65536);
  bool symmetric = !spec.asymmetric;
  fields.Flag("symmetric", symmetric);
  spec.asymmetric = !symmetric;
}

nn::WeightSpec WithBits(nn::WeightSpec spec, std::uint8_t bits) {
  spec.bits = bits;
  if (bits < 8) return spec;
  spec.asymmetric = false;
  if (spec.scaling == nn::WeightScaling::kGroup) spec.scaling = nn::WeightScaling::kChannel;
  return spec;
}

WeightSettings::WeightSettings(Fields& fields, const nn::WeightSpec& otherwise)
    : fields_(fields), spec_(otherwise) {
  fields.Number("bits", spec_.bits, 2, 8);
  ReadScaling(fields, spec_);
  fields.Texts("layers", "[\"conv1 8\", \"dense2 3 group 16 asymmetric\"]", layers_);
  fields.Texts("keep_float", "[\"dense2\"]", keep_float_);
}

Result<> WeightSettings::CheckKeepFloat() const {
  if (keep_float_.empty()) return {};
  return fields_.Fail("keep_float",
                      "the integer engine runs whole models, so that no layer can stay in float; "
                      "give it 8 bits (layers = [\"" +
                          keep_float_[0].substr(0, 64) +
                          " 8\"]), or the model half_weights instead",
                      ErrorCode::kUnsupported);
}

Result<WeightPlan> WeightSettings::Finish() const {
  FL_TRY_OK(fields_.Finish());
  FL_TRY_OK(CheckKeepFloat());
  if (const auto valid = spec_.Validate(); !valid)
    return fields_.Fail(spec_.asymmetric ? "symmetric" : "granularity", valid.error().message);
  WeightPlan plan{spec_, {}};
  for (const std::string& line : layers_) {
    std::istringstream words(line);
    std::string name;
    words >> name;
    const auto spec = ParseCoding(words, spec_);
    if (!spec) {
      return fields_.Fail("layers",
                          "expected \"NODE BITS [tensor|channel|group N] [symmetric|asymmetric]\" "
                          "with 2 to 8 bits, found \"" +
                              line.substr(0, 64) + "\"");
    }
    if (const auto valid = spec->Validate(); !valid)
      return fields_.Fail("layers", name.substr(0, 64) + ": " + valid.error().message);
    if (!plan.by_node.emplace(name, *spec).second)
      return fields_.Fail("layers", name.substr(0, 64) + " stands twice");
  }
  return plan;
}

Result<WeightPlan> PlanFor(const WorkingModel& model, const WeightPlan& own) {
  WeightPlan plan{own.spec, model.precision};
  for (const auto& [name, spec] : own.by_node) {
    const auto [place, added] = plan.by_node.emplace(name, spec);
    if (added || place->second == spec) continue;
    return Error{ErrorCode::kInvalidArgument,
                 "layers: an earlier pass has decided on the weight of " + name};
  }
  return plan;
}

Result<> RoundIfPlain(const WeightPlan& own, WorkingModel& model) {
  FL_TRY(const WeightPlan plan, PlanFor(model, own));
  if (model.rounded) return {};
  FL_TRY(model.rounded, RoundWeights(model.graph, model.parameters, plan));
  for (const auto& [name, grid] : model.rounded->grids) model.precision[name] = grid.spec;
  return {};
}

double MeanBits(const nn::Graph& graph, std::span<const nn::WeightSpec> specs) {
  double bits = 0;
  double weights = 0;
  for (const std::size_t i : WeightNodes(graph)) {
    const Shape& shape = graph.parameters[graph.nodes[i].parameters[0]].shape;
    const std::size_t channels = shape[shape.rank() - 1];
    const std::size_t depth = shape.count() / channels;
    bits += static_cast<double>(nn::WeightBits(specs[i], depth, channels));
    weights += static_cast<double>(shape.count());
  }
  return weights > 0 ? bits / weights : 0;
}

Result<std::vector<nn::ActivationRange>> RoundAndObserve(const WeightPlan& own,
                                                         const nn::SampleValues& samples,
                                                         WorkingModel& model) {
  FL_TRY_OK(RoundIfPlain(own, model));
  return nn::ObserveRanges(model.graph, model.parameters, samples.values, samples.count,
                           nn::RangeMethod::kSquaredError);
}

std::string DescribeCodings(const nn::Graph& graph, std::span<const nn::WeightSpec> specs) {
  std::vector<nn::WeightSpec> used;
  for (const std::size_t i : WeightNodes(graph)) used.push_back(specs[i]);
  if (used.empty()) return "no weights";
  if (std::ranges::adjacent_find(used, std::ranges::not_equal_to{}) == used.end()) {
    const nn::WeightSpec& spec = used.front();
    const std::string bits = std::to_string(spec.bits) + " bits";
    const std::string zero = spec.asymmetric ? ", asymmetric" : "";
    if (spec.scaling == nn::WeightScaling::kGroup)
      return bits + " in groups of " + std::to_string(spec.group) + zero;
    return bits + (spec.scaling == nn::WeightScaling::kTensor ? " by tensor" : " by channel") +
           zero;
  }
  const auto [least, most] = std::ranges::minmax(used, {}, &nn::WeightSpec::bits);
  char text[64];
  std::snprintf(text, sizeof(text), "%d to %d bits, %.2f a weight", int{least.bits}, int{most.bits},
                MeanBits(graph, specs));
  return text;
}

}  // namespace fl::deploy
