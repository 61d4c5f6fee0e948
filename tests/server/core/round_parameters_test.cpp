#include "fl/server/core/round_parameters.h"

#include <algorithm>

#include "fl/tests/server/support/fake_fleet.h"

namespace fl::server::testing {
namespace {

const std::vector<std::string> kPair = {"device-0", "device-1"};

constexpr const char* kMask = "shared_mask 50% block=1 | quantize 8 scale=shared range=4";

std::shared_ptr<const FederationPlan> PlanWith(const std::string& recipe,
                                               const std::string& rounds) {
  return MakePlan(PlanText(rounds,
                           "[compression]\ngather_below = 0\n[[compression.recipe]]\n"
                           "tensors = \"*\"\nrecipe = \"" +
                               recipe + "\"\n"));
}

std::optional<Digest> ParametersOf(Server& server, std::uint64_t round) {
  return server.round(round).parameters;
}

bool HasBlob(Server& server, const Digest& digest) {
  const auto transaction = Get(server.storage().Begin("small", TransactionMode::kOptimistic));
  return Get(transaction->ReadBlob(digest)).has_value();
}

RoundParameters Stored(Server& server, std::uint64_t round) {
  const auto transaction = Get(server.storage().Begin("small", TransactionMode::kOptimistic));
  return Get(ReadRoundParameters(*transaction, server.plan(), round));
}

TEST_CASE("A round's parameters: move from round to round and old blobs go") {
  Server server(PlanWith(kMask, "count = 4\npopulation_min = 2\ngoal = 2"));
  PlayAll(server, kPair);
  CHECK(server.federation().published == 4);
  CHECK_FALSE(ParametersOf(server, 1).has_value());
  const Digest second = ParametersOf(server, 2).value();
  const Digest third = ParametersOf(server, 3).value();
  const Digest fourth = ParametersOf(server, 4).value();
  CHECK_FALSE(second == third);
  CHECK_FALSE(third == fourth);
  CHECK_FALSE(HasBlob(server, second));
  CHECK_FALSE(HasBlob(server, third));
  CHECK(HasBlob(server, fourth));
  CHECK(HasBlob(server, crypto::Sha256(server.plan().initial_parameters().bytes)));
  CHECK(Stored(server, 4).round == 4);
}

TEST_CASE("A round's parameters: stay the same blob where the codec's do not move") {
  Server server(
      PlanWith("quantize 8 scale=shared range=4", "count = 3\npopulation_min = 2\ngoal = 2"));
  const Digest expected = crypto::Sha256(server.plan().initial_parameters().bytes);
  for (std::uint64_t round = 1; round <= 3; ++round) {
    for (const std::string& device : kPair) CheckInAs(server, device);
    for (const std::string& device : kPair) {
      const auto answer = CheckInAs(server, device);
      REQUIRE(answer.task.has_value());
      CHECK(answer.task->round_parameters == expected);
      Put(server, device, answer.task->id, GoodUpdate(server.plan(), *answer.task, device));
    }
    CHECK(server.round(round).state == RoundState::kPublished);
  }
}

TEST_CASE("A round's parameters: are those of the round before when that is abandoned") {
  Server server(PlanWith(kMask,
                         "count = 2\npopulation_min = 2\ngoal = 2\nmin_report = 2\n"
                         "deadline_s = 10"));
  for (const std::string& device : kPair) CheckInAs(server, device);
  server.Pass(10);
  CHECK(server.round(1).state == RoundState::kAbandoned);
  PlayAll(server, kPair);
  CHECK(Stored(server, 2).bytes == Stored(server, 1).bytes);
  CHECK_FALSE(Stored(server, 3).bytes == Stored(server, 2).bytes);
}

// Each of the two sends what its own round asks for: the model changes there and nowhere else.
TEST_CASE("A late update: is folded with the mask of its own round") {
  const auto plan = PlanWith("shared_mask 34% block=1",
                             "count = 2\npopulation_min = 2\ngoal = 1\nover_select = 2.0\n"
                             "max_staleness = 1");
  Server server(plan);
  for (const std::string& device : kPair) CheckInAs(server, device);
  const auto late = CheckInAs(server, "device-0");
  const auto early = CheckInAs(server, "device-1");
  REQUIRE(late.task.has_value());
  const auto shared = ParametersFor(server, "device-0", *late.task);
  std::vector<float> delta(plan->layout().total(), 1.0F);
  const auto update = [&](const wire::Task& task) {
    return wire::EncodeUpdate(UpdateFor(*plan, task, delta, 1, shared));
  };
  CHECK(Put(server, "device-1", early.task->id, update(*early.task)).status == 200);
  const std::vector<float> before = server.model_values();
  CHECK_FALSE(Stored(server, 2).bytes == Stored(server, 1).bytes);
  CHECK(Put(server, "device-0", late.task->id, update(*late.task)).status == 200);
  const std::vector<float> after = server.model_values();
  CHECK(server.federation().published == 2);
  std::size_t at = 0;
  for (const Segment& segment : plan->checked().delta.segments()) {
    std::vector<float> values(segment.codec->count(), 1.0F);
    std::vector<float> decoded(values.size());
    ByteWriter out;
    segment.codec->Encode(values, decoded, {*shared, 1}, RngStream(5), out);
    for (const float value : decoded) {
      CHECK(after[at] - before[at] == doctest::Approx(double{value}));
      ++at;
    }
  }
}

}  // namespace
}  // namespace fl::server::testing
