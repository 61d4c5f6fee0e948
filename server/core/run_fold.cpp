#include "fl/server/core/run_fold.h"

#include <algorithm>

#include "fl/common/crypto/sha256.h"
#include "fl/common/wire/model_change.h"
#include "fl/common/wire/update.h"
#include "fl/server/core/auto_tally.h"
#include "fl/server/core/change_start.h"
#include "fl/server/core/lattice_changes.h"
#include "fl/server/core/round_parameters.h"
#include "fl/server/core/version_models.h"
#include "fl/server/publish/publisher.h"
#include "fl/server/publish/released_model.h"
#include "fl/server/publish/stride_control.h"
#include "fl/server/strategy/strategy.h"

namespace fl::server {
namespace {

constexpr const char* kWantedName = "publisher/wanted";
constexpr const char* kAverageName = "publisher/average";
constexpr const char* kStrideName = "publisher/stride";
constexpr const char* kStrategyPrefix = "strategy/";

// All that the round's computation needs, as read in one transaction.
struct RoundInput {
  RoundRow round;
  std::vector<JournalEntry> entries;
  std::map<std::uint64_t, RoundParameters> parameters;  // By the round of the entries' tasks.
  std::map<std::string, Bytes> tensors;
  std::uint64_t version = 0;                                        // The current one.
  std::vector<float> current;                                       // Its published model.
  std::vector<std::pair<std::uint64_t, std::vector<float>>> bases;  // For changes, by version.
  std::optional<Lattice::Point> visited;  // Where a usual client will be; where bytes are bounded.
};

Result<ModelRow> FindVersion(Transaction& transaction, const FederationPlan& plan,
                             std::uint64_t version) {
  FL_TRY(const auto row, transaction.FindModel(plan.name(), version));
  if (row) return *row;
  return Error{ErrorCode::kInternal,
               plan.name() + ": version " + std::to_string(version) + " is not stored"};
}

// Where models lie on a lattice, changes are made of their points instead.
Result<> ReadBases(Transaction& transaction, const FederationPlan& plan, RoundInput& input) {
  if (plan.plan().aggregation.downlink_bytes > 0) {
    const std::uint64_t next = input.version + 1;
    const std::uint64_t lag = std::min(next, UsualLag(plan.plan().rounds));
    FL_TRY(input.visited, PointOfVersion(transaction, plan, next - lag));
  }
  if (plan.lattice() != nullptr) return Ok{};
  const std::uint64_t back = plan.plan().aggregation.change_versions_max;
  std::uint64_t oldest = input.version + 1 > back ? input.version + 1 - back : 0;
  if (PublishesHalf(plan)) {
    input.bases.emplace_back(0, ChangeStart(plan));
    oldest = std::max<std::uint64_t>(oldest, 1);
  }
  for (std::uint64_t from = oldest; from < input.version; ++from) {
    FL_TRY(const ModelRow row, FindVersion(transaction, plan, from));
    FL_TRY(std::vector<float> base, ReadModelValues(transaction, plan, row.digest));
    input.bases.emplace_back(from, std::move(base));
  }
  if (oldest <= input.version) input.bases.emplace_back(input.version, input.current);
  return Ok{};
}

Result<RoundInput> ReadInput(Storage& storage, const FederationPlan& plan, std::uint64_t number) {
  FL_TRY(const auto transaction, storage.Begin(plan.name(), TransactionMode::kOptimistic));
  FL_TRY(const auto federation, transaction->FindFederation(plan.name()));
  FL_TRY(const auto round, transaction->FindRound(plan.name(), number));
  if (!federation || !round || round->state != RoundState::kFolding) {
    return Error{ErrorCode::kWrongState,
                 plan.name() + ": round " + std::to_string(number) + " is not closed for folding"};
  }
  RoundInput input;
  input.round = *round;
  FL_TRY(input.entries, Journal(*transaction).Read(plan.name(), number));
  input.parameters[number];
  for (const JournalEntry& entry : input.entries) input.parameters[entry.round];
  for (auto& [of, parameters] : input.parameters) {
    FL_TRY(parameters, ReadRoundParameters(*transaction, plan, of));
  }
  FL_TRY(input.tensors, transaction->Tensors(plan.name()));
  input.version = federation->version;
  FL_TRY(const ModelRow row, FindVersion(*transaction, plan, input.version));
  FL_TRY(input.current, ReadModelValues(*transaction, plan, row.digest));
  FL_TRY_OK(ReadBases(*transaction, plan, input));
  return input;
}

StateTensors StrategyState(const std::map<std::string, Bytes>& tensors) {
  const std::string prefix = kStrategyPrefix;
  StateTensors state;
  for (const auto& [name, bytes] : tensors) {
    if (name.starts_with(prefix)) state[name.substr(prefix.size())] = ToFloats(bytes);
  }
  return state;
}

// What the tensor held after the last round; `first` before the first one.
std::vector<float> Kept(const std::map<std::string, Bytes>& tensors, const char* name,
                        const std::vector<float>& first) {
  const auto found = tensors.find(name);
  return found == tensors.end() ? first : ToFloats(found->second);
}

std::vector<EncodedChange> EncodeChanges(const RoundInput& input, std::span<const float> next,
                                         ThreadPool* pool) {
  std::vector<EncodedChange> all(input.bases.size());
  const std::function<void(std::size_t)> encode = [&](std::size_t i) {
    all[i] = {input.bases[i].first, wire::EncodeModelChange(input.bases[i].second, next, pool)};
  };
  if (pool != nullptr) {
    pool->ParallelFor(all.size(), encode);
  } else {
    for (std::size_t i = 0; i < all.size(); ++i) encode(i);
  }
  std::erase_if(
      all, [&](const EncodedChange& change) { return change.bytes.size() >= next.size_bytes(); });
  return all;
}

// By what stride the model is published: one step of the lattice, or what the server chooses.
Result<unsigned> ChooseShift(const FederationPlan& plan, const RoundInput& input,
                             const std::vector<float>& before, const std::vector<float>& wanted,
                             RoundResult& result) {
  const AggregationConfig& aggregation = plan.plan().aggregation;
  const Lattice* lattice = plan.lattice();
  if (lattice == nullptr || aggregation.lattice_step) return 0U;
  FL_TRY(const Lattice::Point from, lattice->PointOf(input.current));
  const auto bytes_of = [&](unsigned shift) -> std::uint64_t {
    const Lattice::Point point = lattice->Approach(from, wanted, shift);
    const LatticeChange change = ChangeBetween(input.visited.value_or(from), point, 0);
    return EncodeLatticeChange(change, plan.layout()).size();
  };
  StrideState state = AfterStep(StrideStateOf(Kept(input.tensors, kStrideName, {})),
                                StepDeviation(plan.layout(), before, wanted));
  state.published = FittingShift(state, aggregation.downlink_bytes, bytes_of);
  result.tensors[kStrideName] = FromFloats(ToTensor(state));
  return state.published;
}

// Step 10's second half: the published model, the changes to it and what the publisher keeps.
Result<> Publish(const FederationPlan& plan, const RoundInput& input, const Publisher& publisher,
                 const std::vector<float>& wanted, ThreadPool* pool, RoundResult& result) {
  FL_TRY(const Publication publication, publisher.Publish(wanted, input.current));
  result.model = FromFloats(publication.model);
  result.digest = crypto::Sha256(result.model);
  result.changes = EncodeChanges(input, publication.model, pool);
  if (publication.point) {
    const LatticeChange from_start{0, *publication.point};
    result.changes.push_back({0, EncodeLatticeChange(from_start, plan.layout())});
  }
  const bool rounded = publication.point.has_value() || PublishesHalf(plan);
  if (rounded) result.tensors[kWantedName] = FromFloats(wanted);
  return Ok{};
}

void Release(const FederationPlan& plan, const RoundInput& input, const Publisher& publisher,
             const std::vector<float>& wanted, RoundResult& result) {
  const AggregationConfig& aggregation = plan.plan().aggregation;
  if (aggregation.released != "average") return;
  const double decay = AverageDecay(input.version + 1, aggregation.average_decay);
  std::vector<float> average =
      AverageModel(Kept(input.tensors, kAverageName, input.current), wanted, decay);
  result.tensors[kAverageName] = FromFloats(average);
  result.released = FromFloats(publisher.Release(std::move(average)));
}

// What the devices chose, for the report; nothing where the plan leaves them no choice.
Result<> CountChoices(const FederationPlan& plan, const RoundInput& input, RoundResult& result) {
  if (!plan.checked().delta.budget()) return {};
  AutoTally tally = AutoTally::Of(plan);
  const auto found = input.tensors.find(AutoTally::kTensor);
  if (found != input.tensors.end()) {
    FL_TRY(tally, AutoTally::Decode(plan, found->second));
  }
  FL_TRY_OK(tally.Count(plan, input.entries));
  result.tensors[AutoTally::kTensor] = tally.Encode();
  return {};
}

// What the next round's clients share follows from the round's aggregate.
void MoveParameters(const FederationPlan& plan, const RoundInput& input, const FoldResult& folded,
                    RoundResult& result) {
  const RoundParameters& now = input.parameters.at(input.round.number);
  RoundFeedback measured;
  measured.loss = folded.metrics.loss_trained;
  measured.updates = input.round.accepted;
  measured.examples = folded.metrics.examples;
  RoundParameters next =
      plan.checked().delta.NextRoundParameters(now, folded.streams.front().values, measured);
  if (next.bytes != now.bytes) result.next_parameters = std::move(next.bytes);
}

}  // namespace

Result<RoundResult> RunFold(Storage& storage, const FederationPlan& plan, std::uint64_t round,
                            ThreadPool* pool) {
  FL_TRY(RoundInput input, ReadInput(storage, plan, round));
  RoundResult result;
  FL_TRY_OK(CountChoices(plan, input, result));
  FL_TRY(const ParsedJournal journal,
         ParsedJournal::Parse(plan, std::move(input.entries), input.parameters));
  const AggregationConfig& aggregation = plan.plan().aggregation;
  FoldOptions options;
  options.weights = aggregation.weights == "uniform" ? WeightRule::kUniform : WeightRule::kExamples;
  const FoldResult folded = Fold(plan, journal, options, pool);

  StateTensors state = StrategyState(input.tensors);
  const std::vector<float> before = Kept(input.tensors, kWantedName, input.current);
  const std::vector<float> wanted =
      MakeStrategy(plan.checked())->Step(before, folded.streams.front(), state);
  result.metrics = folded.metrics;
  for (const auto& [name, values] : state) {
    result.tensors[kStrategyPrefix + name] = FromFloats(values);
  }
  FL_TRY(const unsigned shift, ChooseShift(plan, input, before, wanted, result));
  const Publisher publisher({plan.lattice(), shift, PublishesHalf(plan)});
  FL_TRY_OK(Publish(plan, input, publisher, wanted, pool, result));
  Release(plan, input, publisher, wanted, result);
  MoveParameters(plan, input, folded, result);
  for (const StreamAggregate& stream : folded.streams) {
    if (stream.stream < wire::kStreamPlanFirst) continue;
    result.tensors["stream/" + plan.streams()[stream.stream].name] = FromFloats(stream.values);
  }
  return result;
}

}  // namespace fl::server
