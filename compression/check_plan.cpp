#include "fl/compression/check_plan.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "fl/common/crypto/sha256.h"
#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/plain_graph.h"
#include "fl/compression/codecs/adaptive.h"
#include "fl/compression/codecs/sketch.h"
#include "fl/compression/glob.h"
#include "fl/compression/why_not_summed.h"

namespace fl {
namespace {

// Where a key stands in a plan's text, for values that carry no location of their own; line 0 when
// it is not found, because it was left out or is written in an inline table.
Location FindKey(std::string_view source, std::string_view section, std::string_view key) {
  std::string_view current;
  std::uint32_t line_number = 1;
  for (std::size_t begin = 0; begin < source.size(); ++line_number) {
    const std::size_t end = std::min(source.find('\n', begin), source.size());
    const std::string_view line = source.substr(begin, end - begin);
    const std::size_t first = std::min(line.find_first_not_of(" \t"), line.size());
    const std::string_view text = line.substr(first);
    if (text.starts_with('[')) current = text.substr(1, text.find(']') - 1);
    if (current == section && text.starts_with(key)) {
      const std::string_view rest = text.substr(key.size());
      const std::size_t equals = std::min(rest.find_first_not_of(" \t"), rest.size());
      if (rest.substr(equals).starts_with('='))
        return {line_number, static_cast<std::uint32_t>(first + 1)};
    }
    begin = end + 1;
  }
  return {};
}

std::string PlaceText(const Location& location) {
  return location.line == 0
             ? ""
             : std::to_string(location.line) + ":" + std::to_string(location.column) + ": ";
}

// An error about "section.key".
Error AtKey(const Plan& plan, const std::string& section, const std::string& key,
            const std::string& message, ErrorCode code = ErrorCode::kInvalidArgument) {
  return {code,
          PlaceText(FindKey(plan.source, section, key)) + section + "." + key + ": " + message};
}

Result<nn::Graph> BuildModel(const Plan& plan) {
  std::vector<std::string> lines;
  lines.reserve(plan.model.layers.size());
  for (const LocatedText& layer : plan.model.layers) lines.push_back(layer.text);
  std::size_t failed = 0;
  auto graph = nn::BuildGraph(Shape(plan.model.input), lines, plan.model.loss, &failed);
  if (graph) return graph;
  const Location place = failed >= 1 && failed <= plan.model.layers.size()
                             ? plan.model.layers[failed - 1].location
                             : FindKey(plan.source, "model", "input");
  return Error{graph.error().code, PlaceText(place) + "model: " + graph.error().message};
}

std::string NamesOf(const TensorLayout& layout) {
  std::string names;
  for (const TensorSpec& spec : layout.specs()) {
    if (!names.empty()) names += ", ";
    names += spec.name;
  }
  return names;
}

// Adds what [training] freezes to what the layers freeze by themselves.
Result<> FreezeTensors(const std::vector<LocatedText>& patterns, nn::Graph& graph) {
  std::set<std::size_t> frozen(graph.frozen.begin(), graph.frozen.end());
  for (const LocatedText& pattern : patterns) {
    const std::string where =
        PlaceText(pattern.location) + "training.freeze: \"" + pattern.text + "\" ";
    bool matches = false;
    for (std::size_t i = 0; i < graph.parameters.size(); ++i) {
      if (!GlobMatches(pattern.text, graph.parameters[i].name)) continue;
      matches = true;
      frozen.insert(i);
    }
    if (!matches) {
      return Error{ErrorCode::kInvalidArgument,
                   where + "matches no tensor; the model has " + NamesOf(graph.parameters)};
    }
    if (frozen.size() == graph.parameters.size()) {
      return Error{ErrorCode::kInvalidArgument,
                   where +
                       "leaves nothing to train; expected at least one tensor that is not "
                       "frozen"};
    }
  }
  graph.frozen.assign(frozen.begin(), frozen.end());
  return {};
}

// What is deployed: the model with whole weights, all of them free to change.
nn::Graph Teacher(const nn::Graph& graph) {
  nn::Graph teacher = nn::PlainGraph(graph);
  teacher.frozen.clear();
  return teacher;
}

// A cohort of ceil(goal * over_select) clients must be there, and small enough for the server's
// slots.
Result<> CheckRounds(const Plan& plan) {
  constexpr double kCohortMax = 1e6;
  const RoundsConfig& rounds = plan.rounds;
  const double cohort = std::ceil(static_cast<double>(rounds.goal) * rounds.over_select);
  if (cohort > kCohortMax) {
    return AtKey(plan, "rounds", "goal",
                 "goal x over_select asks " + std::to_string(cohort) +
                     " clients in a round; at most 1000000");
  }
  if (static_cast<double>(rounds.population_min) < cohort) {
    return AtKey(plan, "rounds", "population_min",
                 "expected at least " + std::to_string(static_cast<std::uint64_t>(cohort)) +
                     ", the clients asked in a round (goal x over_select), found " +
                     std::to_string(rounds.population_min));
  }
  if (plan.simulation.devices < rounds.population_min && !plan.simulation.data.empty()) {
    return AtKey(
        plan, "simulation", "devices",
        "expected at least rounds.population_min = " + std::to_string(rounds.population_min) +
            ", found " + std::to_string(plan.simulation.devices));
  }
  return {};
}

Result<> CheckPrivacy(const Plan& plan) {
  if (plan.privacy.noise_multiplier != 0) {
    return AtKey(plan, "privacy", "noise_multiplier",
                 "noise is not available in this version; leave it out or set it to 0",
                 ErrorCode::kUnsupported);
  }
  return {};
}

// The recipe that made a segment; null: no rule matches, so it is raw.
const LocatedText* RecipeOf(const CompressionConfig& compression, const Segment& segment) {
  const bool gathered = segment.name == "gathered";
  if (gathered) return &compression.gathered;
  const auto found = std::ranges::find_if(compression.rules, [&](const RecipeRule& rule) {
    return GlobMatches(rule.tensors.text, segment.name);
  });
  return found == compression.rules.end() ? nullptr : &found->recipe;
}

// Masked updates can only be added, so that each recipe must sum as integers. Which stage stands in
// the way is said before that there is no secure aggregation yet.
Result<> CheckSecureAggregation(const Plan& plan, const SegmentPlan& delta) {
  if (!plan.privacy.secure_aggregation) return {};
  for (const Segment& segment : delta.segments()) {
    if (segment.codec->traits().linear) continue;
    const LocatedText* text = RecipeOf(plan.compression, segment);
    FL_TRY(const Recipe recipe, ParseRecipe(text == nullptr ? "raw" : text->text));
    const Location place =
        text == nullptr ? FindKey(plan.source, "privacy", "secure_aggregation") : text->location;
    return Error{ErrorCode::kInvalidArgument, PlaceText(place) + "privacy.secure_aggregation: " +
                                                  segment.name + ": " + WhyNotSummed(recipe)};
  }
  return AtKey(
      plan, "privacy", "secure_aggregation",
      "secure aggregation is not available in this version; leave it out or set it to false",
      ErrorCode::kUnsupported);
}

// A sketch is for clients that keep nothing; what it does not tell yet is in the sum of the tables,
// which the strategy keeps.
Result<> CheckSketches(const Plan& plan, const SegmentPlan& delta) {
  const bool fetches = plan.aggregation.strategy == "fetch_sgd";
  const auto sketched = std::ranges::find_if(
      delta.segments(), [](const Segment& segment) { return SketchOf(*segment.codec) != nullptr; });
  if (sketched == delta.segments().end()) {
    if (!fetches) return {};
    return AtKey(plan, "aggregation", "strategy",
                 "fetch_sgd is for sketches; expected a recipe such as \"sketch 5x1000\", or "
                 "\"fedavg\"");
  }
  const std::string of = "the sketch of " + sketched->name;
  if (!fetches) {
    return AtKey(plan, "aggregation", "strategy",
                 of + " tells large values alone, the rest is noise that a plain average would "
                      "apply; expected \"fetch_sgd\"");
  }
  if (plan.compression.residual) {
    return AtKey(plan, "compression", "residual",
                 of + " is for clients that keep nothing, and what one update's sketch does not "
                      "tell would grow from round to round; expected residual = false");
  }
  if (plan.compression.momentum != 0) {
    return AtKey(plan, "compression", "momentum",
                 of + " is for clients that keep nothing; expected no momentum of clients");
  }
  if (plan.privacy.norm_bound > 0) {
    return AtKey(plan, "privacy", "norm_bound",
                 of + " does not tell one update's norm; expected another recipe, or no bound");
  }
  return {};
}

// What a codec leaves out comes back with the next update, and grows where it can be more than what
// there was.
Result<> CheckResidual(const Plan& plan, const SegmentPlan& delta) {
  if (!plan.compression.residual) return {};
  for (const Segment& segment : delta.segments()) {
    const std::optional<double> error = segment.codec->traits().relative_error;
    if (!error || *error <= 1) continue;
    return AtKey(plan, "compression", "residual",
                 "what the recipe of " + segment.name + " leaves out can be " +
                     std::to_string(*error) +
                     " times the energy of an update, so that a residual would grow from round to "
                     "round; expected residual = false, or a recipe without unbiased");
  }
  return {};
}

// Momentum works on what is left out; where nothing is, or it is not kept, masking would undo it.
// The momentum of local training is another one: it ends with each task, this one goes from update
// to update.
Result<> CheckMomentum(const Plan& plan, const SegmentPlan& delta) {
  if (plan.compression.momentum == 0) return {};
  if (!plan.compression.residual) {
    return AtKey(plan, "compression", "momentum",
                 "needs the residual that it carries on: expected residual = true, or no momentum");
  }
  if (delta.lossless()) {
    return AtKey(plan, "compression", "momentum",
                 "has no effect where updates leave nothing out: expected a recipe such as \"top_k "
                 "1% | ternary\", or no momentum");
  }
  return {};
}

// Devices fetch what a round's clients share in one answer, which no server makes longer.
Result<> CheckShared(const Plan& plan, const SegmentPlan& delta) {
  constexpr std::size_t kBytesMax = 1U << 20;
  const std::size_t bytes = delta.InitialRoundParameters().bytes.size();
  if (bytes <= kBytesMax) return {};
  return AtKey(plan, "compression", "recipe",
               "what all clients of a round share takes " + std::to_string(bytes) +
                   " bytes; expected at most " + std::to_string(kBytesMax) +
                   ": use a lower rank, a smaller share, or basis=own");
}

// One step for all coordinates, chosen for weights, would round a small variance to nothing.
Result<> CheckLattice(const Plan& plan, const nn::Graph& graph) {
  if (plan.aggregation.publish != "lattice" || graph.statistics.empty()) return {};
  return AtKey(plan, "aggregation", "publish",
               "a lattice cannot hold the variances of batch norms (" +
                   graph.parameters[graph.statistics.back()].name +
                   "); expected \"half\" or \"exact\", or layernorm in place of batchnorm");
}

TensorLayout OneTensor(const std::string& name, std::size_t count) {
  return TensorLayout({{name, Shape{count}}});
}

Result<SegmentPlan> BuildStream(const Plan& plan, const StreamConfig& stream,
                                const nn::Graph& graph) {
  const std::string where = PlaceText(stream.recipe.location) + "stream \"" + stream.name + "\": ";
  if (stream.source != "label_counts") {
    return Error{ErrorCode::kUnsupported,
                 where + "unknown source \"" + stream.source + "\"; this version has label_counts"};
  }
  if (plan.model.loss != "softmax_cross_entropy") {
    return Error{ErrorCode::kInvalidArgument,
                 where + "label_counts needs classes: loss = \"softmax_cross_entropy\""};
  }
  return SegmentPlan::Uniform(stream.recipe, OneTensor(stream.name, graph.output_shape().count()));
}

Result<std::vector<SegmentPlan>> BuildStreams(const Plan& plan, const nn::Graph& graph) {
  std::vector<SegmentPlan> streams;
  std::set<std::string> names = {"delta", "metrics"};
  for (const StreamConfig& stream : plan.streams) {
    if (!names.insert(stream.name).second) {
      return Error{
          ErrorCode::kInvalidArgument,
          PlaceText(stream.recipe.location) + "stream: the name \"" + stream.name + "\" is taken"};
    }
    FL_TRY(SegmentPlan built, BuildStream(plan, stream, graph));
    if (built.budget()) {
      return Error{ErrorCode::kInvalidArgument, PlaceText(stream.recipe.location) + "stream \"" +
                                                    stream.name +
                                                    "\": auto is for model updates only; expected "
                                                    "a recipe such as raw"};
    }
    if (!built.InitialRoundParameters().bytes.empty()) {
      return Error{ErrorCode::kUnsupported, PlaceText(stream.recipe.location) + "stream \"" +
                                                stream.name +
                                                "\": scale=shared is for model updates only"};
    }
    streams.push_back(std::move(built));
  }
  return streams;
}

// What a stream takes in an update at the most, but for the payloads of `auto`.
std::uint64_t FixedBytes(const SegmentPlan& stream) {
  std::uint64_t bytes = 5;  // Its id and the number of its segments.
  for (const Segment& segment : stream.segments()) {
    const bool free = dynamic_cast<const AdaptiveCodec*>(segment.codec.get()) != nullptr;
    const std::uint64_t payload = free ? 0 : segment.codec->EncodedBytesMax();
    bytes += 1 + VarintSize(payload) + payload;
  }
  return bytes;
}

// A budget has room for all that is not auto's to choose.
Result<> CheckBudget(const CheckedPlan& checked, const Plan& plan) {
  constexpr std::uint64_t kEnvelope = 48;  // The header and the trailer, at the most.
  const auto& budget = checked.delta.budget();
  if (!budget) return {};
  if (budget->per_weight && plan.aggregation.weights == "uniform") {
    return AtKey(plan, "compression", "recipe",
                 "auto: per=weight gives heavier clients more, but all weigh the same under "
                 "aggregation.weights = \"uniform\"; leave one of them out");
  }
  std::uint64_t fixed = kEnvelope + FixedBytes(checked.delta) + FixedBytes(checked.metrics);
  for (const SegmentPlan& stream : checked.streams) fixed += FixedBytes(stream);
  const std::uint64_t least = budget->LeastBytes();
  if (fixed <= least) return {};
  const char* why = budget->moves() ? " (of bytes=, by start= and per=)" : "";
  return AtKey(plan, "compression", "recipe",
               "auto: expected a budget of at least " + std::to_string(fixed) +
                   " bytes, which the update's head, its metrics and the tensors with other "
                   "recipes may take, found " +
                   std::to_string(least) + why + "; raise bytes=, or give those tensors auto, too");
}

Result<std::shared_ptr<const Narrowing>> MakeNarrowing(const Plan& plan, const nn::Graph& graph) {
  if (plan.training.width == 1) return std::shared_ptr<const Narrowing>();
  if (plan.compression.momentum != 0) {
    return AtKey(plan, "compression", "momentum",
                 "would go on where a round with training.width below 1 trains nothing; expected "
                 "one of them");
  }
  auto narrowing = Narrowing::Create(graph, plan.training.width, plan.seed);
  if (!narrowing) {
    return AtKey(plan, "training", "width", narrowing.error().message, narrowing.error().code);
  }
  return std::shared_ptr<const Narrowing>(
      std::make_shared<const Narrowing>(std::move(narrowing).value()));
}

Result<std::optional<deploy::CalibrationTask>> PlanCalibration(const Plan& plan,
                                                               const deploy::PassList& passes,
                                                               const nn::Graph& teacher) {
  FL_TRY(auto task, deploy::CalibrationTaskOf(passes, teacher));
  if (!task && plan.deployment.calibration != CalibrationConfig()) {
    return AtKey(plan, "deployment", "calibration",
                 "no pass asks for it: expected ptq_static with ranges = \"federation\", or no "
                 "[deployment.calibration]");
  }
  return task;
}

Result<CheckedPlan> Check(Plan plan) {
  CheckedPlan checked;
  FL_TRY(checked.graph, BuildModel(plan));
  FL_TRY_OK(FreezeTensors(plan.training.freeze, checked.graph));
  FL_TRY_OK(CheckRounds(plan));
  FL_TRY_OK(CheckPrivacy(plan));
  FL_TRY(checked.narrowing, MakeNarrowing(plan, checked.graph));
  FL_TRY(checked.delta, SegmentPlan::Create(plan.compression, checked.graph.parameters,
                                            checked.graph.frozen, checked.narrowing));
  FL_TRY_OK(CheckSecureAggregation(plan, checked.delta));
  FL_TRY_OK(CheckSketches(plan, checked.delta));
  FL_TRY_OK(CheckMomentum(plan, checked.delta));
  FL_TRY_OK(CheckResidual(plan, checked.delta));
  FL_TRY_OK(CheckShared(plan, checked.delta));
  FL_TRY_OK(CheckLattice(plan, checked.graph));
  FL_TRY(checked.metrics, SegmentPlan::Uniform({"raw", {}}, OneTensor("metrics", 4)));
  FL_TRY(checked.streams, BuildStreams(plan, checked.graph));
  FL_TRY_OK(CheckBudget(checked, plan));
  const nn::Graph teacher = Teacher(checked.graph);
  FL_TRY(checked.passes, deploy::ParsePassList(plan.deployment, teacher));
  FL_TRY(checked.calibration, PlanCalibration(plan, checked.passes, teacher));
  checked.plan_digest = crypto::Sha256(AsBytes(plan.source));
  checked.recipe_digest = checked.delta.digest();
  checked.plan = std::move(plan);
  return checked;
}

}  // namespace

Result<std::shared_ptr<const CheckedPlan>> CheckPlan(Plan plan, std::string_view name) {
  auto checked = Check(std::move(plan));
  if (checked)
    return std::shared_ptr<const CheckedPlan>(
        std::make_shared<CheckedPlan>(std::move(checked).value()));
  // A place follows the name without a space: "plan.toml:3:1: ...".
  const std::string& message = checked.error().message;
  const bool placed = !message.empty() && message.front() >= '0' && message.front() <= '9';
  return Error{checked.error().code, std::string(name) + (placed ? ":" : ": ") + message};
}

}  // namespace fl
