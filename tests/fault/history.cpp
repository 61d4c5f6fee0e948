#include "fl/tests/fault/history.h"

#include <cmath>
#include <cstring>
#include <utility>

#include "fl/common/crypto/sha256.h"
#include "fl/common/wire/update.h"

namespace fl::fault {
namespace {

// Of a sum in fp32 against one in fp64, with a few updates of values around 1.
constexpr double kTolerance = 1e-5;

std::string TaskText(std::uint64_t task) {
  return "task " + std::to_string(task) + ": ";
}

bool MayFollow(server::RoundState before, server::RoundState after) {
  using enum server::RoundState;
  if (before == after) return true;
  if (before == kPublished || before == kAbandoned) return false;
  return after == kAbandoned ? before != kFolding : after > before;
}

}  // namespace

void History::Trained(std::uint64_t task) {
  ++trainings_;
  if (staged_.contains(task)) Fault(TaskText(task) + "trained again after its update was staged");
}

void History::Staged(const client::StagedUpdate& update) {
  const auto [found, added] = staged_.try_emplace(update.task, update);
  if (!added && found->second.update != update.update) {
    Fault(TaskText(update.task) + "a second update was staged");
  }
}

void History::Sent(std::uint64_t task, std::uint64_t offset, std::uint64_t told) {
  if (offset >= told) return;
  Fault(TaskText(task) + "sent from byte " + std::to_string(offset) + " with " +
        std::to_string(told) + " committed");
}

void History::Committed(std::uint64_t task, std::uint64_t bytes) {
  std::uint64_t& before = committed_[task];
  if (bytes < before) {
    Fault(TaskText(task) + std::to_string(before) + " bytes were committed, then " +
          std::to_string(bytes));
  }
  before = bytes;
}

void History::Accepted(std::uint64_t task, std::uint64_t round) {
  const auto [found, added] = accepted_.try_emplace(task, round);
  if (!added && found->second != round) {
    Fault(TaskText(task) + "acknowledged for round " + std::to_string(found->second) +
          ", then for round " + std::to_string(round));
  }
  if (!staged_.contains(task)) Fault(TaskText(task) + "acknowledged, and no device had staged it");
}

void History::Look(server::Storage& storage) {
  if (const Result<> read = ReadRows(storage); !read) {
    Fault("the rows cannot be read: " + read.error().message);
  }
}

Result<> History::ReadRows(server::Storage& storage) {
  FL_TRY(const auto transaction, storage.Begin(plan_.name(), server::TransactionMode::kOptimistic));
  FL_TRY(const auto federation, transaction->FindFederation(plan_.name()));
  if (!federation) {
    if (!models_.empty()) Fault("the federation is lost");
    return Ok{};
  }
  if (federation->round < round_ || federation->published < published_ ||
      federation->version < version_) {
    Fault("round " + std::to_string(round_) + " of version " + std::to_string(version_) +
          " came before round " + std::to_string(federation->round) + " of version " +
          std::to_string(federation->version));
  }
  round_ = federation->round;
  published_ = federation->published;
  version_ = federation->version;
  FL_TRY(const std::vector<server::RoundRow> rounds, transaction->Rounds(plan_.name()));
  for (const server::RoundRow& round : rounds) LookAtRound(round);
  return LookAtModels(*transaction, federation->version);
}

void History::LookAtRound(const server::RoundRow& round) {
  const auto [found, added] = rounds_.try_emplace(round.number, round.state);
  if (!added && !MayFollow(found->second, round.state)) {
    Fault("round " + std::to_string(round.number) + " went from state " +
          std::to_string(static_cast<int>(found->second)) + " to " +
          std::to_string(static_cast<int>(round.state)));
  }
  found->second = round.state;
}

Result<> History::LookAtModels(server::Transaction& transaction, std::uint64_t version) {
  FL_TRY(const std::vector<server::ModelRow> rows, transaction.Models(plan_.name()));
  if (rows.empty() || rows.back().version != version) Fault("the newest model has no row");
  for (const server::ModelRow& row : rows) {
    const auto found = models_.find(row.version);
    if (found != models_.end()) {
      if (found->second.digest != row.digest) {
        Fault("version " + std::to_string(row.version) + " has another digest than before");
      }
      continue;
    }
    FL_TRY(const auto bytes, transaction.ReadBlob(row.digest));
    if (!bytes || crypto::Sha256(*bytes) != row.digest) {
      Fault("version " + std::to_string(row.version) + " is not what its digest says");
      continue;
    }
    std::vector<float> values(bytes->size() / sizeof(float));
    std::memcpy(values.data(), bytes->data(), values.size() * sizeof(float));
    models_.emplace(row.version, Model{row.digest, std::move(values)});
  }
  return Ok{};
}

void History::Finish(server::Storage& storage) {
  Look(storage);
  const auto transaction = storage.Begin(plan_.name(), server::TransactionMode::kOptimistic);
  const auto rounds = transaction ? (*transaction)->Rounds(plan_.name())
                                  : Result<std::vector<server::RoundRow>>(transaction.error());
  if (!rounds) return Fault("the rounds cannot be read: " + rounds.error().message);
  CheckAggregates(*rounds);
}

void History::CheckAggregates(const std::vector<server::RoundRow>& rounds) {
  std::set<std::uint64_t> published;
  for (const server::RoundRow& round : rounds) {
    if (round.state != server::RoundState::kPublished) continue;
    published.insert(round.number);
    const auto expected = Expected(round);
    const auto found = models_.find(round.version);
    if (!expected || found == models_.end()) continue;
    double furthest = 0;
    for (std::size_t i = 0; i < expected->size(); ++i) {
      furthest = std::max(furthest, std::abs(double{(*expected)[i]} - found->second.values[i]));
    }
    if (furthest > kTolerance) {
      Fault("round " + std::to_string(round.number) +
            " published something else than the mean of what was acknowledged for it: off by " +
            std::to_string(furthest));
    }
  }
  for (const auto& [task, round] : accepted_) {
    if (!published.contains(round)) {
      Fault(TaskText(task) + "acknowledged for round " + std::to_string(round) +
            ", which published nothing");
    }
  }
}

// The model before the round plus the mean of its updates; nothing where that cannot be said.
std::optional<std::vector<float>> History::Expected(const server::RoundRow& round) {
  const auto base = models_.find(round.version - 1);
  if (base == models_.end()) return std::nullopt;
  std::vector<double> sum(base->second.values.size());
  double weight = 0;
  std::uint64_t updates = 0;
  for (const auto& [task, counted] : accepted_) {
    const auto update = staged_.find(task);
    if (counted != round.number || update == staged_.end()) continue;
    AddUpdate(update->second.update, sum, weight);
    ++updates;
  }
  if (updates != round.accepted) {
    Fault("round " + std::to_string(round.number) + " counted " + std::to_string(round.accepted) +
          " updates and acknowledged " + std::to_string(updates));
  }
  std::vector<float> expected = base->second.values;
  for (std::size_t i = 0; i < expected.size() && weight > 0; ++i) {
    expected[i] = static_cast<float>(expected[i] + sum[i] / weight);
  }
  return expected;
}

void History::AddUpdate(const Bytes& update, std::vector<double>& sum, double& weight) {
  const auto view = wire::DecodeUpdate(update, {});
  if (!view) return Fault("a staged update is none: " + view.error().message);
  const SegmentPlan& delta = plan_.checked().delta;
  std::vector<float> flat(sum.size());
  for (const wire::UpdateEntryView& entry : view->streams.front().entries) {
    const Codec& codec = *delta.segments()[entry.segment].codec;
    const auto payload = codec.Parse(entry.payload, {}, {});
    if (!payload) return Fault("a staged update is none: " + payload.error().message);
    std::vector<float> values(codec.count());
    codec.DecodeAdd(**payload, 0, 1.0F, values);
    delta.Scatter(entry.segment, values, flat);
  }
  const auto examples = static_cast<double>(view->examples);
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += examples * double{flat[i]};
  weight += examples;
}

}  // namespace fl::fault
