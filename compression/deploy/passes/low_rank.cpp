#include "fl/compression/deploy/passes/low_rank.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

#include "fl/compression/deploy/calibration_samples.h"

namespace fl::deploy {
namespace {

// The whole text as a number.
template <typename T>
std::optional<T> Parse(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Result<> ReadRank(const Fields& fields, const std::string& text, LowRankConfig& config) {
  constexpr std::string_view kEnergy = "energy:";
  if (text == "budget") {
    config.rule = RankRule::kBudget;
  } else if (text == "vbmf") {
    config.rule = RankRule::kVariational;
  } else if (text.starts_with(kEnergy)) {
    const auto share = Parse<double>(std::string_view(text).substr(kEnergy.size()));
    if (!share) return fields.Fail("rank", "expected a share behind energy:, found " + text);
    config.rule = RankRule::kEnergy;
    config.energy = *share;
  } else if (const auto rank = Parse<std::uint32_t>(text)) {
    config.rule = RankRule::kFixed;
    config.rank = *rank;
  } else {
    return fields.Fail("rank",
                       "expected a number, \"energy:0.9\", \"vbmf\" or \"budget\", found \"" +
                           text.substr(0, 64) + "\"");
  }
  return {};
}

// "dense1 rank 16, conv2 ranks 8 16; conv1 stays: ..."
std::string Summarize(const LowRankModel& model) {
  std::string replaced;
  std::string stayed;
  for (const LowRankLayer& layer : model.layers) {
    if (!layer.reason.empty()) {
      stayed += "; " + layer.name + " stays: " + layer.reason;
      continue;
    }
    char text[128];
    std::snprintf(text, sizeof(text), " rank %zu, %.2g of its output lost",
                  std::max(layer.ranks.in, layer.ranks.out), layer.error);
    replaced += (replaced.empty() ? "" : ", ") + layer.name + text;
  }
  return (replaced.empty() ? "nothing was replaced" : replaced) + stayed;
}

// Drops what earlier passes decided for layers and tensors that are no more.
void DropEntries(const LowRankModel& replaced, WorkingModel& model) {
  for (const LowRankLayer& layer : replaced.layers) {
    if (!layer.reason.empty()) continue;
    model.precision.erase(layer.name);
    model.ranges.erase(layer.name);
    model.masks.erase(layer.name + ".weight");
    model.masks.erase(layer.name + ".bias");
  }
}

}  // namespace

Result<std::shared_ptr<const Pass>> ReadLowRank(Fields& fields) {
  LowRankConfig config;
  constexpr std::array<std::string_view, 4> kMethods = {"svd", "spatial_svd", "tucker", "cp"};
  config.method = static_cast<LowRankMethod>(fields.Word("method", kMethods, 0));
  fields.Texts("layers", "[\"dense1\"]", config.layers);
  std::string rank = "budget";
  fields.TextOrCount("rank", rank);
  fields.Number("budget", config.budget, 0, 1);
  constexpr std::array<std::string_view, 3> kMeasures = {"parameters", "macs", "error"};
  config.measure = static_cast<LowRankMeasure>(fields.Word("measure", kMeasures, 0));
  fields.Flag("weighted", config.weighted);
  constexpr std::array<std::string_view, 2> kStarts = {"decomposition", "random"};
  config.random_start = fields.Word("start", kStarts, 0) == 1;
  std::uint32_t samples = 512;
  fields.Number("samples", samples, 1, 1e6);
  FL_TRY_OK(fields.Finish());
  FL_TRY_OK(ReadRank(fields, rank, config));
  if (const auto valid = config.Validate(); !valid)
    return Refuse(fields.PlaceOf(config.rule == RankRule::kBudget ? "budget" : "rank"),
                  "low_rank: " + valid.error().message);
  return std::shared_ptr<const Pass>(std::make_shared<LowRankPass>(std::move(config), samples));
}

Result<> LowRankPass::Run(const PassInputs& inputs, WorkingModel& model, PassReport& report) const {
  const SampleBlock block = CalibrationSamples(inputs, samples_);
  auto replaced = FactorizeLayers(model.graph, model.parameters, block.values, block.count, config_,
                                  inputs.rng);
  if (!replaced) return replaced.error().At(name());
  report.summary = Summarize(*replaced);
  double layers = 0;
  for (const LowRankLayer& layer : replaced->layers) {
    if (!layer.reason.empty()) continue;
    ++layers;
    report.figures.push_back({layer.name + ".rank", static_cast<double>(layer.ranks.out)});
    report.figures.push_back({layer.name + ".error", layer.error});
  }
  report.figures.push_back({"layers", layers});
  DropEntries(*replaced, model);
  model.graph = std::move(replaced->graph);
  model.parameters = std::move(replaced->parameters);
  return {};
}

}  // namespace fl::deploy
