#include "fl/tests/fault/history.h"

#include <doctest/doctest.h>

#include "fl/tests/fault/faulty_federation.h"
#include "fl/tests/fault/small_fleet.h"

namespace fl::fault {
namespace {

client::StagedUpdate Staged(std::uint64_t task, const std::string& content = "an update") {
  client::StagedUpdate update;
  update.task = task;
  update.update = ToBytes(content);
  return update;
}

// A federation of two devices and two rounds that nothing disturbs, played to its end.
struct Played {
  std::shared_ptr<const server::FederationPlan> plan =
      SmallPlan("count = 2\npopulation_min = 2\ngoal = 2\nmin_report = 2\nwait_s = 2");
  FaultyFederation federation{{plan}, SmallShares(*plan, 2)};
  Played() {
    REQUIRE(federation.Run());
    REQUIRE(federation.history().faults().empty());
  }
  std::string FaultAfterFinish() {
    federation.history().Finish(federation.server().storage());
    const auto& faults = federation.history().faults();
    REQUIRE_FALSE(faults.empty());
    return faults.back();
  }
};

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("History: finds each thing that must not happen to one update") {
  const auto plan = SmallPlan("count = 1");
  History history(*plan);
  history.Trained(1);
  history.Trained(1);  // A device that died before its update was staged.
  history.Staged(Staged(1));
  history.Staged(Staged(1));
  history.Sent(1, 10, 10);
  history.Committed(1, 10);
  history.Committed(1, 10);
  history.Accepted(1, 3);
  history.Accepted(1, 3);
  REQUIRE(history.faults().empty());
  SUBCASE("trained again") {
    history.Trained(1);
  }
  SUBCASE("another update") {
    history.Staged(Staged(1, "another update"));
  }
  SUBCASE("sent again") {
    history.Sent(1, 9, 10);
  }
  SUBCASE("committed bytes lost") {
    history.Committed(1, 9);
  }
  SUBCASE("acknowledged for two rounds") {
    history.Accepted(1, 4);
  }
  SUBCASE("acknowledged from nowhere") {
    history.Accepted(2, 3);
  }
  CHECK(history.faults().size() == 1);
}

TEST_CASE("History: finds an update that was acknowledged and is in no model") {
  Played played;
  // What device-1000 staged for round 2, under the name of another task.
  client::StagedUpdate extra = Staged(99);
  played.federation.history().Staged(extra);
  SUBCASE("of a round that published nothing") {
    played.federation.history().Accepted(99, 3);
    CHECK(Has(played.FaultAfterFinish(), "which published nothing"));
  }
  SUBCASE("of a round that counted others") {
    played.federation.history().Accepted(99, 2);
    played.FaultAfterFinish();
    const auto& faults = played.federation.history().faults();
    CHECK(Has(faults.back(), "counted 2 updates and acknowledged 3"));
  }
}

TEST_CASE("History: finds a model or a round that changed afterwards") {
  Played played;
  auto& storage = played.federation.server().storage();
  auto transaction = fl::testing::Get(storage.Begin("small", server::TransactionMode::kExclusive));
  std::string expected;
  SUBCASE("another digest") {
    auto model = fl::testing::Get(transaction->FindModel("small", 1)).value();
    model.digest.bytes[0] ^= std::byte{1};
    REQUIRE(transaction->Put(model));
    expected = "version 1 has another digest";
  }
  SUBCASE("a state before") {
    auto round = fl::testing::Get(transaction->FindRound("small", 2)).value();
    round.state = server::RoundState::kCollecting;
    REQUIRE(transaction->Put(round));
    expected = "round 2 went from state 4 to 2";
  }
  SUBCASE("a round before") {
    auto federation = fl::testing::Get(transaction->FindFederation("small")).value();
    federation.round = 1;
    REQUIRE(transaction->Put(federation));
    expected = "round 2 of version 2 came before round 1";
  }
  REQUIRE(transaction->Commit());
  transaction.reset();
  played.federation.history().Look(storage);
  REQUIRE(played.federation.history().faults().size() == 1);
  CHECK(Has(played.federation.history().faults().front(), expected));
}

}  // namespace
}  // namespace fl::fault
