#include "fl/server/core/round_parameters.h"

#include <string>

namespace fl::server {

Result<RoundParameters> ReadRoundParameters(Transaction& transaction, const FederationPlan& plan,
                                            std::uint64_t round) {
  RoundParameters parameters{plan.initial_parameters().bytes, round};
  // Nothing of them can move.
  if (parameters.bytes.empty()) return parameters;
  FL_TRY(const auto row, transaction.FindRound(plan.name(), round));
  if (!row) {
    return Error{ErrorCode::kInternal,
                 plan.name() + ": round " + std::to_string(round) + " is not stored"};
  }
  if (!row->parameters) return parameters;
  FL_TRY(auto bytes, transaction.ReadBlob(*row->parameters));
  if (!bytes || bytes->size() != parameters.bytes.size()) {
    return Error{ErrorCode::kInternal, plan.name() + ": the parameters of round " +
                                           std::to_string(round) + " are not stored whole"};
  }
  parameters.bytes = *std::move(bytes);
  return parameters;
}

Result<RoundParameters> ReadTaskParameters(Transaction& transaction, const FederationPlan& plan,
                                           const TaskRow& task) {
  if (task.kind == wire::TaskKind::kTrain) {
    return ReadRoundParameters(transaction, plan, task.round);
  }
  return plan.initial_parameters();
}

Result<> DropOldParameters(Transaction& transaction, const FederationPlan& plan,
                           const RoundRow& opening) {
  const std::uint64_t late = plan.plan().rounds.max_staleness;
  if (opening.number < late + 2) return Ok{};
  const std::uint64_t gone = opening.number - late - 1;
  FL_TRY(const auto old, transaction.FindRound(plan.name(), gone));
  if (!old || !old->parameters || old->parameters == opening.parameters) return Ok{};
  for (std::uint64_t number = gone + 1; number < opening.number; ++number) {
    FL_TRY(const auto row, transaction.FindRound(plan.name(), number));
    if (row && row->parameters == old->parameters) return Ok{};
  }
  return transaction.DropBlob(*old->parameters);
}

}  // namespace fl::server
