#include "fl/tests/server/storage/storage_suite.h"

#include <doctest/doctest.h>

#include "fl/tests/support/result.h"

namespace fl::server::testing {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;

std::unique_ptr<Transaction> Begin(Storage& storage) {
  return Get(storage.Begin("fed", TransactionMode::kOptimistic));
}

FederationRow Federation() {
  FederationRow row;
  row.name = "fed";
  row.plan.bytes[3] = std::byte{9};
  row.plan_text = "name = \"fed\"";
  row.version = 1ULL << 63;
  row.created_at = FromMicroseconds(-5);
  return row;
}

void Found(Storage& storage) {
  const auto transaction = Begin(storage);
  Get(transaction->Put(Federation()));
  Get(transaction->Commit());
}

TaskRow Task(std::uint64_t id, std::uint64_t slot, const char* client) {
  TaskRow row;
  row.id = id;
  row.federation = "fed";
  row.round = 1;
  row.slot = slot;
  row.client = client;
  return row;
}

void CheckOffenders(Transaction& transaction) {
  Get(transaction.Put(OffenderRow{"fed", "b", 3, FromMicroseconds(4), FromMicroseconds(9), true}));
  Get(transaction.Put(OffenderRow{"fed", "a", 1, {}, {}, false}));
  const OffenderRow offender = Get(transaction.FindOffender("fed", "b")).value();
  CHECK(offender.offences == 3);
  CHECK(offender.held_until == FromMicroseconds(9));
  CHECK(offender.denied);
  CHECK(Get(transaction.Offenders("fed"))[0].client == "a");
  Get(transaction.DropOffender("fed", "b"));
  CHECK_FALSE(Get(transaction.FindOffender("fed", "b")).has_value());
  Get(transaction.Add(RefusedRow{"fed", FromMicroseconds(5), 2, "a", ErrorCode::kMalformed,
                                 ErrorDetail{3}, "why"}));
  const RefusedRow refused = Get(transaction.LastRefused("fed")).at(0);
  CHECK(refused.code == ErrorCode::kMalformed);
  CHECK(refused.detail == ErrorDetail{3});
  CHECK(refused.client == "a");
  CHECK(refused.message == "why");
}

void CheckClientsAndModels(Transaction& transaction) {
  for (const auto& [name, seen_s] : {std::pair("c", 3.0), std::pair("b", 1.0), {"a", 2.0}}) {
    ClientRow client;
    client.federation = "fed";
    client.name = name;
    client.last_seen = FromMicroseconds(0) + FromSeconds(seen_s);
    Get(transaction.Put(client));
  }
  CHECK(Get(transaction.Clients("fed"))[0].name == "a");
  const auto seen = [&](double since_s) {
    return Get(transaction.ClientsSeen("fed", FromMicroseconds(0) + FromSeconds(since_s)));
  };
  CHECK(seen(2) == std::vector<std::string>{"a", "c"});
  CHECK(seen(-5).size() == 3);
  CHECK(seen(4).empty());
  CHECK(Get(transaction.ClientsSeen("other", TimePoint())).empty());

  for (const std::uint64_t version : {3U, 1U, 2U}) {
    ModelRow model;
    model.federation = "fed";
    model.version = version;
    Get(transaction.Put(model));
  }
  CHECK(Get(transaction.Models("fed")).size() == 3);
  const auto newer = Get(transaction.Models("fed", 2));
  REQUIRE(newer.size() == 2);
  CHECK(newer[0].version == 2);
}

}  // namespace

void CheckRowsRoundTrip(const StorageFactory& make) {
  const auto storage = make();
  Found(*storage);
  const auto transaction = Begin(*storage);
  const FederationRow federation = Get(transaction->FindFederation("fed")).value();
  CHECK(federation.plan == Federation().plan);
  CHECK(federation.version == 1ULL << 63);
  CHECK(federation.created_at == FromMicroseconds(-5));
  CHECK(federation.fence == 1);
  CHECK_FALSE(Get(transaction->FindFederation("other")).has_value());

  RoundRow round;
  round.federation = "fed";
  round.number = 4;
  round.loss_before = 0.25;
  Get(transaction->Put(round));
  round.accepted = 7;
  Get(transaction->Put(round));
  const auto rounds = Get(transaction->Rounds("fed"));
  REQUIRE(rounds.size() == 1);
  CHECK(rounds[0].accepted == 7);
  CHECK(rounds[0].loss_before == 0.25);
  CHECK_FALSE(rounds[0].loss_trained.has_value());

  CheckClientsAndModels(*transaction);

  Get(transaction->Put(Task(~0ULL, 1, "b")));
  Get(transaction->Put(Task(7, 0, "a")));
  CHECK(Get(transaction->Cohort("fed", 1))[0].id == 7);
  CHECK(Get(transaction->FindTask(~0ULL))->client == "b");
  CHECK(Get(transaction->FindTaskOf("fed", wire::TaskKind::kTrain, 1, "a"))->id == 7);
  TaskRow accepted = Task(7, 0, "a");
  accepted.state = TaskState::kAccepted;
  accepted.counted_round = 1;
  Get(transaction->Put(accepted));
  CHECK(Get(transaction->Counted("fed", 1)).size() == 1);

  CHECK_FALSE(Get(transaction->HasPhase(7, 0)));
  Get(transaction->Put(PhaseRow{7, 0, "fed", 1, Bytes(3)}));
  CHECK(Get(transaction->HasPhase(7, 0)));
  CHECK(Get(transaction->CountPhases("fed", 1, 0)) == 1);
  Get(transaction->Put(DeploymentRow{"fed", "a", 30000, 0.5, 0.25, true}));
  CHECK(Get(transaction->Deployments("fed"))[0].installed);
  Get(transaction->Add(EventRow{"fed", FromMicroseconds(3), 1, "something"}));
  CHECK(Get(transaction->Events("fed"))[0].text == "something");

  CheckOffenders(*transaction);
  Get(transaction->Put(ChangeRow{"fed", 1, 2, Digest{}, 5}));
  CHECK(Get(transaction->FindChange("fed", 1, 2, Edition::kPublished))->bytes == 5);
  Get(transaction->DropChange(ChangeRow{"fed", 1, 2, Digest{}, 5}));
  CHECK(Get(transaction->Changes("fed")).empty());
  Get(transaction->PutTensor("fed", "strategy/m", Bytes(4)));
  CHECK(Get(transaction->Tensors("fed")).at("strategy/m").size() == 4);
  CHECK(Get(transaction->FindTensor("fed", "strategy/m"))->size() == 4);
  CHECK_FALSE(Get(transaction->FindTensor("fed", "strategy/n")).has_value());
  CHECK_FALSE(Get(transaction->FindTensor("other", "strategy/m")).has_value());
}

void CheckUncommittedIsNothing(const StorageFactory& make) {
  const auto storage = make();
  Found(*storage);
  {
    const auto transaction = Begin(*storage);
    Get(transaction->Put(Task(7, 0, "a")));
  }
  CHECK_FALSE(Get(Begin(*storage)->FindTask(7)).has_value());
  CHECK(Get(Begin(*storage)->FindFederation("fed"))->fence == 1);
}

void CheckChunksAndBlobs(const StorageFactory& make) {
  const auto storage = make();
  Found(*storage);
  const auto transaction = Begin(*storage);
  TaskRow task = Task(7, 0, "a");
  CHECK(Get(transaction->ReadBody(7)).bytes().empty());
  Get(transaction->PutChunk(task, 5, Bytes(2, std::byte{1})));
  task.committed = 2;
  Get(transaction->PutChunk(task, 5, Bytes(3, std::byte{2})));
  const StoredBody all = Get(transaction->ReadBody(7));
  Get(transaction->DropBody(7));
  CHECK(Get(transaction->ReadBody(7)).bytes().empty());
  REQUIRE(all.bytes().size() == 5);
  CHECK(all.bytes()[1] == std::byte{1});
  CHECK(all.bytes()[2] == std::byte{2});
  Digest digest;
  digest.bytes[0] = std::byte{1};
  CHECK_FALSE(Get(transaction->ReadBlob(digest)).has_value());
  Get(transaction->PutBlob("fed", digest, Bytes(6)));
  Get(transaction->PutBlob("fed", digest, Bytes(6)));
  CHECK(Get(transaction->ReadBlob(digest))->size() == 6);
  CHECK(Get(transaction->FederationOfBlob(digest)) == "fed");
  Get(transaction->DropBlob(digest));
  CHECK_FALSE(Get(transaction->ReadBlob(digest)).has_value());
  Get(transaction->PutBlob("fed", digest, Bytes()));
  CHECK(Get(transaction->ReadBlob(digest))->empty());
}

void CheckCounters(const StorageFactory& make) {
  const auto storage = make();
  Found(*storage);
  const auto transaction = Begin(*storage);
  Get(transaction->AddTraffic("fed", 2, Traffic{1, 2, 3, 4, 1}));
  Get(transaction->AddTraffic("fed", 2, Traffic{1, 2, 3, 4, 1}));
  CHECK(Get(transaction->TrafficByRound("fed")).at(2) == Traffic{2, 4, 6, 8, 2});
  Get(transaction->AddRefusal("fed", 2, ErrorCode::kNotFinite));
  Get(transaction->AddRefusal("fed", 2, ErrorCode::kNotFinite));
  const auto refusals = Get(transaction->RefusalsByRound("fed"));
  CHECK(refusals.at({2, static_cast<std::uint16_t>(ErrorCode::kNotFinite)}) == 2);
}

void CheckWatch(const StorageFactory& make) {
  const auto storage = make();
  int calls = 0;
  storage->Watch("fed", [&] { ++calls; });
  Found(*storage);
  CHECK(calls == 1);
  { const auto dropped = Begin(*storage); }
  CHECK(calls == 1);
  storage->Watch("fed", nullptr);
  const auto transaction = Begin(*storage);
  Get(transaction->Commit());
  CHECK(calls == 1);
}

void CheckConflict(const StorageFactory& make) {
  const auto storage = make();
  Found(*storage);
  const auto first = Begin(*storage);
  Get(first->FindFederation("fed"));
  {
    const auto second = Begin(*storage);
    Get(second->Put(Task(8, 0, "b")));
    Get(second->Commit());
  }
  const Result<> put = first->Put(Task(9, 1, "c"));
  const Result<> committed = put ? first->Commit() : put;
  CHECK(CodeOf(committed) == ErrorCode::kConflict);
}

}  // namespace fl::server::testing
