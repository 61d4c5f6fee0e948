#include "fl/server/core/federation_plan.h"

#include <algorithm>
#include <set>

#include "fl/common/nn/histogram.h"
#include "fl/common/nn/initialize.h"
#include "fl/common/random/rng_stream.h"
#include "fl/common/wire/update.h"

namespace fl::server {
namespace {

void AddStages(const LocatedText& text, std::set<std::uint8_t>& stages) {
  const Result<Recipe> recipe = ParseRecipe(text.text);
  FL_CHECK(recipe.has_value(), "a plan's recipes are checked");
  const std::vector<std::uint8_t> ids = StagesOf(*recipe);
  stages.insert(ids.begin(), ids.end());
}

std::vector<std::uint8_t> NeededStages(const Plan& plan) {
  std::set<std::uint8_t> stages = {static_cast<std::uint8_t>(StageId::kRaw)};
  for (const RecipeRule& rule : plan.compression.rules) AddStages(rule.recipe, stages);
  if (!plan.compression.rules.empty()) AddStages(plan.compression.gathered, stages);
  for (const StreamConfig& stream : plan.streams) AddStages(stream.recipe, stages);
  return {stages.begin(), stages.end()};
}

}  // namespace

std::shared_ptr<const FederationPlan> FederationPlan::Create(
    std::shared_ptr<const CheckedPlan> checked) {
  std::shared_ptr<FederationPlan> plan(new FederationPlan());
  plan->checked_ = std::move(checked);
  const CheckedPlan& parts = *plan->checked_;
  plan->streams_.push_back({wire::kStreamDelta, "delta", Combiner::kWeightedMean, &parts.delta});
  plan->streams_.push_back(
      {wire::kStreamMetrics, "metrics", Combiner::kWeightedMean, &parts.metrics});
  for (std::size_t i = 0; i < parts.streams.size(); ++i) {
    const StreamConfig& config = parts.plan.streams[i];
    const Combiner combiner = config.combiner == "sum" ? Combiner::kSum : Combiner::kWeightedMean;
    plan->streams_.push_back(
        {wire::kStreamPlanFirst + i, config.name, combiner, &parts.streams[i]});
  }
  // An entry of the directory takes at most two varints of 10 bytes.
  if (parts.calibration) {
    plan->calibration_bytes_max_ =
        256 + parts.calibration->graph.nodes.size() * (20 + nn::Histogram::kEncodedBytesMax);
  }
  plan->update_bytes_max_ = 256;
  for (const StreamPlan& stream : plan->streams_) {
    plan->update_bytes_max_ +=
        20 + stream.segments->EncodedBytesMax() + 20 * stream.segments->segments().size();
  }
  // A budget is of the whole body.
  if (const auto& budget = parts.delta.budget())
    plan->update_bytes_max_ = std::min<std::uint64_t>(plan->update_bytes_max_, budget->bytes);
  plan->initial_parameters_ = parts.delta.InitialRoundParameters();
  plan->stages_ = NeededStages(parts.plan);
  const AggregationConfig& aggregation = parts.plan.aggregation;
  if (aggregation.publish == "lattice") {
    plan->lattice_ =
        std::make_unique<const Lattice>(plan->layout(), plan->InitialModel(),
                                        aggregation.lattice_step.value_or(kFinestLatticeStep));
  }
  return plan;
}

const RoundParameters& FederationPlan::ParametersOf(const StreamPlan& stream,
                                                    const RoundParameters& round) const {
  return stream.id == wire::kStreamDelta ? round : no_parameters_;
}

std::vector<float> FederationPlan::InitialModel() const {
  return nn::InitializeParameters(graph(), RngStream(plan().seed).Child("model")).values;
}

}  // namespace fl::server
