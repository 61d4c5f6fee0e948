#include "fl/compression/deploy/passes/prune_channels.h"

#include <array>
#include <numeric>

#include "fl/compression/deploy/passes/prune_settings.h"

namespace fl::deploy {

Result<std::shared_ptr<const Pass>> ReadPruneChannels(Fields& fields) {
  PruneChannelsPassConfig config;
  PruneChannelsConfig& prune = config.prune;
  PruneSettings settings(fields);
  settings.ReadImportance(prune.importance);
  constexpr std::array<std::string_view, 2> kScopes = {"layer", "global"};
  prune.global = fields.Word("scope", kScopes, 0) == 1;
  constexpr std::array<std::string_view, 3> kGranularities = {"channel", "neuron", "both"};
  prune.granularity =
      static_cast<ChannelGranularity>(fields.Word("granularity", kGranularities, 2));
  fields.Number("keep", prune.keep, 0.001, 1);
  settings.ReadBudget(prune.budget);
  fields.Number("layer_cap", prune.layer_cap, 0, 0.999);
  fields.Number("multiple", prune.multiple, 1, 64);
  fields.Number("steps", prune.steps, 1, 100);
  fields.Texts("layers", "[\"conv1\"]", prune.layers);
  fields.Flag("absorb_bias", prune.absorb);
  settings.ReadTraining(config.finetune, config.training);
  FL_TRY_OK(settings.Finish());
  return std::shared_ptr<const Pass>(std::make_shared<PruneChannelsPass>(std::move(config)));
}

Result<> PruneChannelsPass::Run(const PassInputs& inputs, WorkingModel& model,
                                PassReport& report) const {
  TrainingBetween training(config_.finetune, config_.training, inputs);
  PruneChannelsConfig prune = config_.prune;
  if (inputs.profile != nullptr)
    prune.multiple = std::lcm(prune.multiple, inputs.profile->channel_multiple);
  const auto outcome = PruneChannels(prune, {inputs.training, inputs.rng.Child("importance")},
                                     training.AsRetrain(), model);
  if (!outcome) return outcome.error().At(name());
  ReportSizes(outcome->before, outcome->after, report);
  report.summary += ", by " + std::string(CriterionName(config_.prune.importance.criterion));
  for (std::size_t i = 0; i < outcome->padded.size(); ++i)
    report.summary +=
        (i == 0 ? "; constants absorbed but at the border of " : ", ") + outcome->padded[i];
  training.Report(name(), report);
  if (!outcome->unreached.empty()) report.refusal = std::string(name()) + ": " + outcome->unreached;
  return {};
}

}  // namespace fl::deploy
