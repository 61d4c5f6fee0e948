#include "fl/common/config/plan.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "fl/common/base/file.h"
#include "fl/common/config/pass_file.h"
#include "fl/common/config/table.h"

namespace fl {
namespace {

constexpr std::uint64_t kPlanBytesMax = 1U << 20;
constexpr double kCountMax = 1e9;
constexpr double kBytesMax = 1e12;
constexpr double kTargetMax = 1e30;

Result<> ReadModel(Table table, ModelConfig& model) {
  if (!table.present()) table.Refuse("layers", "missing: the plan needs a [model]");
  table.Read("input", model.input, {1, 1 << 24});
  table.Read("layers", model.layers);
  table.Read("loss", model.loss, {"softmax_cross_entropy", "mean_squared_error"});
  if (model.input.empty() || model.input.size() > 4)
    table.Refuse("input", "expected 1 to 4 extents, e.g. [28, 28, 1]");
  if (model.layers.empty())
    table.Refuse("layers", "expected at least one layer, e.g. [\"flatten\", \"dense 10\"]");
  return table.Finish();
}

Result<> ReadData(Table table, const ModelConfig& model, DataConfig& data) {
  table.Read("label", data.label);
  table.Read("categorical", data.categorical);
  table.Read("ignore", data.ignore);
  table.Read("missing", data.missing, {"refuse", "mean"});
  table.Read("target_max", data.target_max, {-kTargetMax, kTargetMax}, "none");
  if (data.target_max && model.loss != "mean_squared_error") {
    table.Refuse("target_max", "goes with loss = \"mean_squared_error\" in [model], found \"" +
                                   model.loss + "\"");
  }
  table.Read("normalize", data.normalize, {"none", "unit", "standard", "fitted"});
  table.Read("fit", data.fit, {"all", "channel", "feature"});
  table.Read("mean", data.mean, {});
  table.Read("scale", data.scale, {.min = 0, .min_excluded = true});
  table.Read("holdout", data.holdout, {0, 0.9});
  if (data.mean.size() != data.scale.size())
    table.Refuse("scale", "expected as many values as in mean");
  if (data.normalize != "standard" && !data.mean.empty())
    table.Refuse("mean", "mean and scale go with normalize = \"standard\" only");
  if (data.normalize == "standard" && data.mean.empty()) {
    table.Refuse("normalize",
                 "\"standard\" needs mean and scale, one value for each feature or one for all");
  }
  return table.Finish();
}

Result<> ReadTraining(Table table, TrainingConfig& training) {
  table.Read("epochs", training.epochs, {1, 10000});
  table.Read("batch_size", training.batch_size, {1, 65536});
  table.Read("learning_rate", training.learning_rate, {0, 1000, true});
  table.Read("learning_rate_decay", training.learning_rate_decay, {0, 1, true});
  table.Read("momentum", training.momentum, {0, 1, false, true});
  table.Read("weight_decay", training.weight_decay, {0, 1});
  table.Read("proximal", training.proximal, {0, 1e6});
  table.Read("gradient_clip", training.gradient_clip, {0, 1e9});
  table.Read("width", training.width, {0, 1, true});
  table.Read("freeze", training.freeze);
  return table.Finish();
}

Result<> ReadRounds(Table table, RoundsConfig& rounds) {
  table.Read("count", rounds.count, {1, kCountMax});
  table.Read("population_min", rounds.population_min, {1, kCountMax});
  table.Read("goal", rounds.goal, {1, 1e6});
  table.Read("over_select", rounds.over_select, {1, 4});
  table.Read("min_report", rounds.min_report, {1, 1e6});
  table.Read("deadline_s", rounds.deadline_s, {0, 1e7, true});
  table.Read("max_staleness", rounds.max_staleness, {0, 1000});
  table.Read("wait_s", rounds.wait_s, {0, 1e6, true});
  table.Read("phases", rounds.phases);
  if (rounds.min_report > rounds.goal) table.Refuse("min_report", "expected at most rounds.goal");
  for (const std::string& phase : rounds.phases) {
    if (phase != "collect" && phase != "hello")
      table.Refuse("phases", "expected \"hello\" or \"collect\", found '" + phase + "'");
  }
  if (rounds.phases.empty() || rounds.phases.back() != "collect" ||
      std::ranges::count(rounds.phases, "collect") != 1) {
    table.Refuse("phases", "expected exactly one \"collect\", as the last phase");
  }
  return table.Finish();
}

Result<> ReadCompression(Table table, CompressionConfig& compression) {
  table.Read("gather_below", compression.gather_below, {0, kCountMax});
  table.Read("gathered", compression.gathered);
  table.Read("residual", compression.residual);
  table.Read("residual_rounds_max", compression.residual_rounds_max, {0, kCountMax});
  table.Read("momentum", compression.momentum, {0, 1, false, true});
  for (Table& rule : table.Children("recipe")) {
    RecipeRule& entry = compression.rules.emplace_back();
    entry.tensors.text = "*";
    rule.Read("tensors", entry.tensors);
    rule.Read("recipe", entry.recipe);
    if (entry.recipe.text.empty())
      rule.Refuse("recipe", "missing: expected a recipe, e.g. \"top_k 1% | quantize 8\"");
    FL_TRY_OK(rule.Finish());
  }
  return table.Finish();
}

bool IsName(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

Result<> ReadStreams(std::vector<Table> tables, std::vector<StreamConfig>& streams) {
  for (Table& table : tables) {
    StreamConfig stream;
    table.Read("name", stream.name);
    table.Read("source", stream.source, {"label_counts"});
    table.Read("recipe", stream.recipe);
    table.Read("combiner", stream.combiner, {"sum", "weighted_mean"});
    const bool taken =
        std::ranges::find(streams, stream.name, &StreamConfig::name) != streams.end();
    if (taken || stream.name == "delta" || stream.name == "metrics")
      table.Refuse("name", "the name is taken");
    if (!IsName(stream.name)) table.Refuse("name", "expected 1 to 64 of a-z 0-9 - _");
    if (stream.source.empty()) table.Refuse("source", "missing: expected \"label_counts\"");
    FL_TRY_OK(table.Finish());
    streams.push_back(std::move(stream));
  }
  return {};
}

void RefuseFetchSgdKeys(const AggregationConfig& aggregation, Table& table) {
  const AggregationConfig defaults;
  if (aggregation.strategy != "fetch_sgd") {
    constexpr const char* kOther = "is of strategy = \"fetch_sgd\"; expected it, or no such key";
    if (aggregation.momentum != defaults.momentum) table.Refuse("momentum", kOther);
    if (aggregation.keep != defaults.keep) table.Refuse("keep", kOther);
  } else if (aggregation.keep >= 1 && aggregation.keep != std::floor(aggregation.keep)) {
    table.Refuse("keep", "expected a share below 1, or a whole number of coordinates");
  }
}

Result<> ReadAggregation(Table table, AggregationConfig& aggregation) {
  table.Read("weights", aggregation.weights, {"examples", "uniform"});
  table.Read("strategy", aggregation.strategy, {"fedavg", "fetch_sgd"});
  table.Read("momentum", aggregation.momentum, {0, 1, false, true});
  table.Read("keep", aggregation.keep, {0, kCountMax, true});
  table.Read("server_step", aggregation.server_step, {0, 10, true});
  table.Read("publish", aggregation.publish, {"exact", "half", "lattice"});
  table.Read("lattice_step", aggregation.lattice_step, {0x1p-12, 4}, "auto");
  table.ReadBytes("downlink_bytes", aggregation.downlink_bytes, {1, kBytesMax});
  table.Read("released", aggregation.released, {"published", "average"});
  table.Read("average_decay", aggregation.average_decay, {0, 1, false, true});
  table.Read("change_versions_max", aggregation.change_versions_max, {0, 1000});
  table.Read("keep_updates", aggregation.keep_updates);
  const bool chosen = aggregation.publish == "lattice" && !aggregation.lattice_step;
  if (aggregation.downlink_bytes > 0 && !chosen) {
    table.Refuse("downlink_bytes",
                 "bounds what the server chooses: expected publish = \"lattice\" with "
                 "lattice_step = \"auto\"");
  }
  RefuseFetchSgdKeys(aggregation, table);
  return table.Finish();
}

Result<> ReadPrivacy(Table table, PrivacyConfig& privacy) {
  table.Read("clip_norm", privacy.clip_norm, {0, 1e9});
  table.Read("norm_bound", privacy.norm_bound, {0, 1e9});
  table.Read("noise_multiplier", privacy.noise_multiplier, {0, 1e6});
  table.Read("secure_aggregation", privacy.secure_aggregation);
  if (privacy.norm_bound > 0 && privacy.norm_bound < privacy.clip_norm) {
    table.Refuse("norm_bound", "expected at least privacy.clip_norm, or 0 for no bound");
  }
  if (privacy.noise_multiplier > 0)
    table.Refuse("noise_multiplier", "noise is not available in this version; expected 0");
  return table.Finish();
}

Result<> ReadSimulation(Table table, SimulationConfig& simulation) {
  table.Read("devices", simulation.devices, {1, 1e7});
  table.Read("data", simulation.data);
  table.Read("partition", simulation.partition, {"iid", "dirichlet", "shards", "natural"});
  table.Read("split_seed", simulation.split_seed, {0, 9e18});
  table.Read("alpha", simulation.alpha, {0, 1e6, true});
  table.Read("shards_per_device", simulation.shards_per_device, {1, 1e6});
  table.Read("clients", simulation.clients);
  table.Read("examples_per_second", simulation.examples_per_second, {0, 1e12});
  Table link = table.Child("link");
  link.Read("bandwidth_up_kbps", simulation.link.bandwidth_up_kbps, {0, 1e9});
  link.Read("bandwidth_down_kbps", simulation.link.bandwidth_down_kbps, {0, 1e9});
  link.Read("latency_ms", simulation.link.latency_ms, {0, 1e6});
  link.Read("spread", simulation.link.spread, {0, 3});
  link.Read("drop_out", simulation.link.drop_out, {0, 1, false, true});
  FL_TRY_OK(link.Finish());
  if (simulation.partition == "natural" && simulation.clients.empty()) {
    table.Refuse("partition",
                 "\"natural\" needs simulation.clients, a file with each sample's client");
  }
  return table.Finish();
}

Result<> ReadSections(Table& root, Plan& plan) {
  FL_TRY_OK(ReadModel(root.Child("model"), plan.model));
  FL_TRY_OK(ReadData(root.Child("data"), plan.model, plan.data));
  FL_TRY_OK(ReadTraining(root.Child("training"), plan.training));
  FL_TRY_OK(ReadRounds(root.Child("rounds"), plan.rounds));
  FL_TRY_OK(ReadCompression(root.Child("compression"), plan.compression));
  FL_TRY_OK(ReadStreams(root.Children("stream"), plan.streams));
  FL_TRY_OK(ReadAggregation(root.Child("aggregation"), plan.aggregation));
  FL_TRY_OK(ReadPrivacy(root.Child("privacy"), plan.privacy));
  FL_TRY_OK(ReadDeployment(root.Child("deployment"), plan.deployment));
  FL_TRY_OK(ReadSimulation(root.Child("simulation"), plan.simulation));
  Table evaluation = root.Child("evaluation");
  evaluation.Read("data", plan.evaluation.data);
  evaluation.Read("clients", plan.evaluation.clients, {0, kCountMax});
  return evaluation.Finish();
}

}  // namespace

Result<Plan> ParsePlan(std::string_view text, std::string_view name) {
  if (text.size() > kPlanBytesMax) {
    return Error{ErrorCode::kLimitExceeded, std::string(name) + ": a plan has at most " +
                                                std::to_string(kPlanBytesMax) + " bytes"};
  }
  FL_TRY(Table root, Table::Parse(text, name));
  Plan plan;
  plan.source = text;
  root.Read("name", plan.name);
  root.Read("seed", plan.seed, {0, 9e18});
  if (!IsName(plan.name))
    root.Refuse("name", "expected the federation's name: 1 to 64 of a-z 0-9 - _");
  FL_TRY_OK(ReadSections(root, plan));
  FL_TRY_OK(root.Finish());
  return plan;
}

Result<Plan> LoadPlan(const std::string& path) {
  FL_TRY(const Bytes bytes, ReadFile(path, kPlanBytesMax));
  return ParsePlan(AsText(bytes), path);
}

}  // namespace fl
