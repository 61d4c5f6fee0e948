#include "fl/compression/deploy/passes/prune_weights.h"

#include <array>
#include <charconv>
#include <optional>

#include "fl/compression/deploy/passes/prune_settings.h"

namespace fl::deploy {
namespace {

std::optional<std::uint32_t> ParseNumber(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// "element", "block4" or "N:M".
bool ReadPattern(std::string_view text, PruneWeightsConfig& config) {
  if (text == "element") return true;
  if (text == "block4") {
    config.pattern = SparsityPattern::kBlock;
    return true;
  }
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return false;
  const auto n = ParseNumber(text.substr(0, colon));
  const auto m = ParseNumber(text.substr(colon + 1));
  if (!n || !m || *n < 1 || *n >= *m || *m > 16) return false;
  config.pattern = SparsityPattern::kNOfM;
  config.n = *n;
  config.m = *m;
  return true;
}

}  // namespace

Result<std::shared_ptr<const Pass>> ReadPruneWeights(Fields& fields) {
  PruneWeightsPassConfig config;
  PruneWeightsConfig& prune = config.prune;
  PruneSettings settings(fields);
  settings.ReadImportance(prune.importance);
  constexpr std::array<std::string_view, 2> kScopes = {"layer", "global"};
  prune.global = fields.Word("scope", kScopes, 0) == 1;
  std::string pattern = "element";
  fields.Text("pattern", pattern);
  fields.Number("sparsity", prune.sparsity, 0, 0.999);
  fields.Number("layer_cap", prune.layer_cap, 0, 0.999);
  fields.Number("steps", prune.steps, 1, 1000);
  fields.Texts("layers", "[\"dense1\"]", prune.layers);
  settings.ReadTraining(config.finetune, config.training);
  FL_TRY_OK(settings.Finish());
  if (!ReadPattern(pattern, prune)) {
    return fields.Fail("pattern",
                       "expected \"element\", \"block4\", or \"N:M\" with N < M <= 16, found \"" +
                           pattern.substr(0, 64) + "\"");
  }
  if (prune.importance.criterion == Criterion::kGeometricMedian ||
      prune.importance.criterion == Criterion::kBatchNormGamma) {
    return fields.Fail("criterion", "expected one for single weights, found \"" +
                                        std::string(CriterionName(prune.importance.criterion)) +
                                        "\", which is for channels");
  }
  return std::shared_ptr<const Pass>(std::make_shared<PruneWeightsPass>(std::move(config)));
}

Result<> PruneWeightsPass::Run(const PassInputs& inputs, WorkingModel& model,
                               PassReport& report) const {
  TrainingBetween training(config_.finetune, config_.training, inputs);
  const auto pruned = PruneWeights(config_.prune, {inputs.training, inputs.rng.Child("importance")},
                                   training.AsRetrain(), model);
  if (!pruned) return pruned.error().At(name());
  const SparsityCount count = CountZeros(model.graph, model.parameters);
  report.summary = DescribeSparsity(count);
  report.figures = {{"zeros", static_cast<double>(count.zeros)},
                    {"weights", static_cast<double>(count.weights)},
                    {"zero_blocks", static_cast<double>(count.zero_blocks)},
                    {"blocks", static_cast<double>(count.blocks)}};
  training.Report(name(), report);
  return {};
}

}  // namespace fl::deploy
