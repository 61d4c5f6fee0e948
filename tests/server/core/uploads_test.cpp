#include <cmath>
#include <limits>

#include "fl/tests/server/support/fake_fleet.h"

namespace fl::server::testing {
namespace {

constexpr const char* kTwoClients =
    "count = 2\npopulation_min = 2\ngoal = 2\nmin_report = 1\ndeadline_s = 10";

// A round of two clients that is collecting; the task of device-0 is at hand.
struct OpenRound {
  explicit OpenRound(const std::string& extra = "", const std::string& rounds = kTwoClients)
      : server(MakePlan(PlanText(rounds, extra))) {
    CheckInAs(server, "device-1");
    const auto answer = CheckInAs(server, "device-0");
    REQUIRE(answer.task.has_value());
    task = *answer.task;
    good = GoodUpdate(server.plan(), task, "device-0");
  }
  wire::Update Update() const {
    return UpdateFor(server.plan(), task, DeltaOf(server.plan(), "device-0", 1), 10);
  }
  ErrorCode Send(const wire::Update& update) { return Send(wire::EncodeUpdate(update)); }
  ErrorCode Send(Bytes bytes) {
    return RefusalCode(Put(server, "device-0", task.id, std::move(bytes)));
  }
  net::Response Post(const std::string& verb, std::uint64_t bytes, const Digest& digest) {
    return server.Send(Device("device-0"), {"POST",
                                            TaskTarget(task.id) + "/" + verb,
                                            "localhost",
                                            {},
                                            wire::Encode(wire::ReserveRequest{bytes, digest})});
  }
  net::Response Patch(std::uint64_t offset, ByteSpan bytes) {
    return server.Send(Device("device-0"), {"PATCH",
                                            TaskTarget(task.id),
                                            "localhost",
                                            {{"Upload-Offset", std::to_string(offset)}},
                                            Bytes(bytes.begin(), bytes.end())});
  }
  net::Response Head() {
    return server.Send(Device("device-0"), {"HEAD", TaskTarget(task.id), "localhost", {}, {}});
  }

  Server server;
  wire::Task task;
  Bytes good;
};

wire::UploadAnswer AnswerOf(const net::Response& response) {
  REQUIRE(response.status == 200);
  return Get(wire::Decode<wire::UploadAnswer>(response.body));
}

TEST_CASE("An upload: each fault has its own code and is counted and the round goes on") {
  OpenRound round("[privacy]\nnorm_bound = 5.0\n");
  Server& server = round.server;
  const auto delta_of = [&](float value) {
    wire::Update update = round.Update();
    ByteWriter out;
    for (std::size_t i = 0; i < 6; ++i) out.Write(value);
    update.streams[0].entries[0].payload = std::move(out).Take();
    return update;
  };
  wire::Update update = round.Update();
  update.base ^= 1;
  CHECK(round.Send(update) == ErrorCode::kWrongBase);
  update = round.Update();
  update.recipe ^= 1;
  CHECK(round.Send(update) == ErrorCode::kWrongRecipe);
  update = round.Update();
  update.examples = 0;
  CHECK(round.Send(update) == ErrorCode::kBadWeight);
  update = round.Update();
  update.streams.erase(update.streams.begin() + 1);
  CHECK(round.Send(update) == ErrorCode::kStreamMismatch);
  update = round.Update();
  update.streams[1].id = 5;
  CHECK(round.Send(update) == ErrorCode::kStreamMismatch);
  update = round.Update();
  update.streams[0].entries.push_back({9, Bytes(4)});
  CHECK(round.Send(update) == ErrorCode::kShapeMismatch);
  update = round.Update();
  update.streams[0].entries.back().segment = 9;
  CHECK(round.Send(update) == ErrorCode::kShapeMismatch);
  update = round.Update();
  update.streams[0].entries[0].payload.pop_back();
  CHECK(round.Send(update) == ErrorCode::kMalformed);
  CHECK(round.Send(delta_of(std::numeric_limits<float>::quiet_NaN())) == ErrorCode::kNotFinite);
  CHECK(round.Send(delta_of(std::numeric_limits<float>::infinity())) == ErrorCode::kNotFinite);
  CHECK(round.Send(delta_of(100.0F)) == ErrorCode::kNormExceeded);
  update = round.Update();
  update.task.value ^= 1;
  CHECK(round.Send(update) == ErrorCode::kUnknownTask);
  Bytes broken = round.good;
  broken.back() ^= std::byte{1};
  CHECK(round.Send(broken) == ErrorCode::kDigestMismatch);
  CHECK(round.Send(Bytes(3)) == ErrorCode::kMalformed);
  CHECK(round.Send(Bytes(kChunkBytesMax + 1)) == ErrorCode::kLimitExceeded);
  CHECK(RefusalCode(Put(server, "device-0", 12345, round.good)) == ErrorCode::kUnknownTask);
  CHECK(RefusalCode(Put(server, "device-1", round.task.id, round.good)) == ErrorCode::kUnknownTask);

  CHECK(server.refusals(1, ErrorCode::kNotFinite) == 2);
  CHECK(server.refusals(1, ErrorCode::kNormExceeded) == 1);
  CHECK(server.refusals(1, ErrorCode::kUnknownTask) == 3);
  CHECK(server.round(1).accepted == 0);
  CHECK(round.Send(round.good) == ErrorCode::kOk);
  CHECK(server.round(1).accepted == 1);
}

TEST_CASE("An upload: a repeated update gets the same receipt and counts once") {
  OpenRound round;
  const auto first = AnswerOf(Put(round.server, "device-0", round.task.id, round.good));
  CHECK(first.accepted);
  CHECK(first.round == 1);
  CHECK(AnswerOf(Put(round.server, "device-0", round.task.id, round.good)) == first);
  CHECK(round.server.round(1).accepted == 1);
}

TEST_CASE("An upload: a second and different update of a task is refused") {
  OpenRound round;
  CHECK(round.Send(round.good) == ErrorCode::kOk);
  wire::Update other = round.Update();
  other.examples = 11;
  CHECK(round.Send(other) == ErrorCode::kDuplicate);
}

TEST_CASE("An upload: is too late after the deadline") {
  OpenRound round;
  round.server.Pass(10);
  CHECK(round.server.round(1).state == RoundState::kAbandoned);
  CHECK(round.Send(round.good) == ErrorCode::kTooLate);
}

TEST_CASE("An upload: is not needed after the goal") {
  OpenRound round("", "count = 2\npopulation_min = 2\ngoal = 1\nover_select = 2.0");
  const auto other = CheckInAs(round.server, "device-1");
  REQUIRE(other.task.has_value());
  CHECK(Put(round.server, "device-1", other.task->id,
            GoodUpdate(round.server.plan(), *other.task, "device-1"))
            .status == 200);
  CHECK(RefusalCode(round.Post("reserve", 100, Digest{})) == ErrorCode::kNotNeeded);
  CHECK(round.Send(round.good) == ErrorCode::kNotNeeded);
  CHECK(round.server.federation().published == 1);
}

TEST_CASE("An upload: may be one round late where the plan accepts it") {
  OpenRound round("",
                  "count = 2\npopulation_min = 2\ngoal = 1\nover_select = 2.0\nmax_staleness = 1");
  const auto other = CheckInAs(round.server, "device-1");
  Put(round.server, "device-1", other.task->id,
      GoodUpdate(round.server.plan(), *other.task, "device-1"));
  CHECK(round.server.federation().round == 2);
  const auto answer = AnswerOf(Put(round.server, "device-0", round.task.id, round.good));
  CHECK(answer.round == 2);
  CHECK(round.server.federation().published == 2);
}

TEST_CASE("An upload: waits for a round that still selects where it may count in that") {
  OpenRound round("",
                  "count = 9\npopulation_min = 2\ngoal = 2\nmin_report = 2\ndeadline_s = 100\n"
                  "max_staleness = 1");
  // Round 1 is abandoned long after device-1 was last heard of.
  round.server.Pass(150);
  REQUIRE(round.server.round(2).state == RoundState::kSelecting);
  CHECK(round.Send(round.good) == ErrorCode::kUnavailable);
  CheckInAs(round.server, "device-1");
  REQUIRE(round.server.round(2).state == RoundState::kCollecting);
  CHECK(AnswerOf(Put(round.server, "device-0", round.task.id, round.good)).round == 2);
}

TEST_CASE("An upload in pieces: one that was never finished leaves nothing behind") {
  OpenRound round("", "count = 3\npopulation_min = 2\ngoal = 1\nover_select = 2.0");
  const std::uint64_t task = round.task.id;
  round.Post("reserve", round.good.size(), crypto::Sha256(round.good));
  REQUIRE(AnswerOf(round.Patch(0, ByteSpan(round.good).first(10))).committed == 10);
  const auto pieces = [&] {
    const auto transaction =
        Get(round.server.storage().Begin("small", TransactionMode::kOptimistic));
    return Get(transaction->ReadBody(task)).bytes().size();
  };
  const std::string other = "device-1";
  for (int published = 0; published < 3; ++published) {
    CHECK(pieces() == (published == 0 ? 10 : 0));
    const auto answer = CheckInAs(round.server, other);
    REQUIRE(answer.task.has_value());
    Put(round.server, other, answer.task->id, GoodUpdate(round.server.plan(), *answer.task, other));
    if (published == 2) break;
  }
  CHECK(round.server.federation().published == 3);
  CHECK(pieces() == 0);
}

TEST_CASE("An upload in pieces: resumes at the committed offset and is committed once") {
  OpenRound round;
  const Digest digest = crypto::Sha256(round.good);
  const ByteSpan bytes = round.good;
  CHECK(RefusalCode(round.Patch(0, bytes.first(10))) == ErrorCode::kWrongState);
  CHECK(AnswerOf(round.Post("reserve", bytes.size(), digest)).committed == 0);
  CHECK(AnswerOf(round.Patch(0, bytes.first(10))).committed == 10);
  CHECK(AnswerOf(round.Patch(0, bytes.first(10))).committed == 10);
  CHECK(RefusalCode(round.Patch(11, bytes.subspan(11))) == ErrorCode::kWrongOffset);
  CHECK(RefusalCode(round.Patch(5, bytes.subspan(5, 20))) == ErrorCode::kWrongOffset);
  CHECK(RefusalCode(round.Patch(10, Bytes(bytes.size()))) == ErrorCode::kLimitExceeded);
  CHECK(net::FindHeader(round.Head().headers, "Upload-Offset") == "10");
  CHECK(round.Head().body.empty());
  CHECK(AnswerOf(round.Post("reserve", bytes.size(), digest)).committed == 10);
  CHECK(RefusalCode(round.Post("commit", bytes.size(), digest)) == ErrorCode::kWrongOffset);
  CHECK(AnswerOf(round.Patch(10, bytes.subspan(10))).committed == bytes.size());
  const auto receipt = AnswerOf(round.Post("commit", bytes.size(), digest));
  CHECK(receipt.accepted);
  CHECK(AnswerOf(round.Post("commit", bytes.size(), digest)) == receipt);
  CHECK(AnswerOf(round.Post("reserve", bytes.size(), digest)) == receipt);
  CHECK(RefusalCode(round.Post("commit", bytes.size(), Digest{})) == ErrorCode::kDuplicate);
  CHECK(round.server.round(1).accepted == 1);
}

TEST_CASE("An upload in pieces: other bytes than reserved are refused and can be sent again") {
  OpenRound round;
  const Digest digest = crypto::Sha256(round.good);
  CHECK(RefusalCode(round.Post("reserve", 1ULL << 40, digest)) == ErrorCode::kLimitExceeded);
  round.Post("reserve", round.good.size(), digest);
  round.Patch(0, Bytes(round.good.size()));
  CHECK(RefusalCode(round.Post("commit", round.good.size(), Digest{})) == ErrorCode::kWrongState);
  CHECK(RefusalCode(round.Post("commit", round.good.size(), digest)) == ErrorCode::kDigestMismatch);
  CHECK(round.Head().status == 409);
  round.Post("reserve", round.good.size(), digest);
  round.Patch(0, round.good);
  CHECK(AnswerOf(round.Post("commit", round.good.size(), digest)).accepted);
}

TEST_CASE("An upload in pieces: bytes replaced after the shell looked are looked at again") {
  OpenRound round;
  const Digest digest = crypto::Sha256(round.good);
  round.Post("reserve", round.good.size(), digest);
  round.Patch(0, round.good);
  RequestArrived commit;
  commit.peer = Device("device-0");
  commit.request = {"POST",
                    TaskTarget(round.task.id) + "/commit",
                    "localhost",
                    {},
                    wire::Encode(wire::ReserveRequest{round.good.size(), digest})};
  const auto decoded = Get(DecodeRequest(commit.peer, commit.request));
  commit.checked = CheckRequest(round.server.storage(), round.server.plan(),
                                {commit.peer, commit.request, decoded}, round.server.now());
  REQUIRE(commit.checked != nullptr);
  REQUIRE(commit.checked->has_value());
  round.Post("reserve", round.good.size(), Digest{});
  round.Post("reserve", round.good.size(), digest);
  round.Patch(0, Bytes(round.good.size()));
  const ServerOutput output = round.server.Handle({commit});
  CHECK(RefusalCode(output.replies.at(0).response) == ErrorCode::kDigestMismatch);
  CHECK(round.server.round(1).accepted == 0);
}

TaskRow OpenTask(std::uint64_t attempt) {
  TaskRow task;
  task.id = 7;
  task.attempt = attempt;
  return task;
}

TEST_CASE("UploadDigests: pieces that were read ahead, or not, give the digest of all bytes") {
  const Bytes bytes = ToBytes("an update that comes in four pieces, and is then committed");
  UploadDigests digests;
  std::size_t kept = 0;
  std::size_t ahead = 0;
  for (const bool is_read : {true, false, true, true}) {
    UploadPiece piece(7, kept, ByteSpan(bytes).subspan(kept, 10));
    if (is_read) digests.Read(piece);
    digests.Keep(piece, 0);
    kept += 10;
    ahead += is_read ? 10 : 0;
    CHECK(digests.bytes_kept() == kept);
    CHECK(digests.bytes_ahead() == ahead);
  }
  CHECK(digests.uploads() == 1);
  CHECK(digests.Finish(OpenTask(0), bytes) == crypto::Sha256(bytes));
  CHECK(digests.uploads() == 0);
  CHECK(digests.Finish(OpenTask(0), bytes) == crypto::Sha256(bytes));
}

TEST_CASE("UploadDigests: a piece that was read and not stored does not count") {
  const Bytes bytes(40, std::byte{1});
  const Bytes other(40, std::byte{2});
  UploadDigests digests;
  UploadPiece first(7, 0, ByteSpan(bytes).first(20));
  digests.Read(first);
  UploadPiece second(7, 0, ByteSpan(other).first(20));
  digests.Read(second);
  digests.Keep(second, 0);
  digests.Keep(first, 0);  // As if both had been stored: there is one of each place.
  UploadPiece gap(7, 30, ByteSpan(bytes).subspan(30));
  digests.Read(gap);
  digests.Keep(gap, 0);
  CHECK(digests.bytes_kept() == 20);
  CHECK(digests.Finish(OpenTask(0), other) == crypto::Sha256(other));
}

TEST_CASE("UploadDigests: bytes of another attempt do not count, in whatever order it is told") {
  const Bytes bytes(40, std::byte{1});
  const Bytes other(40, std::byte{2});
  UploadDigests digests;
  UploadPiece first(7, 0, ByteSpan(bytes).first(20));
  digests.Keep(first, 0);
  // Read on top of the first attempt, stored in the second one.
  UploadPiece late(7, 20, ByteSpan(other).subspan(20));
  digests.Read(late);
  UploadPiece again(7, 0, ByteSpan(other).first(20));
  digests.Keep(again, 1);
  UploadPiece of_first(7, 20, ByteSpan(bytes).subspan(20));
  digests.Keep(of_first, 0);
  digests.Keep(first, 0);
  digests.Keep(late, 1);
  CHECK(digests.bytes_ahead() == 0);
  CHECK(digests.bytes_kept() == 60);
  CHECK(digests.Finish(OpenTask(1), other) == crypto::Sha256(other));
  // What is known of the second attempt is not taken for the third.
  digests.Keep(again, 1);
  CHECK(digests.Finish(OpenTask(2), bytes) == crypto::Sha256(bytes));
}

TEST_CASE("An upload in pieces: the reply says which attempt of it a piece is stored in") {
  OpenRound round;
  const Digest digest = crypto::Sha256(round.good);
  const auto stored = [&](std::uint64_t offset) {
    RequestArrived piece;
    piece.peer = Device("device-0");
    piece.request = {"PATCH",
                     TaskTarget(round.task.id),
                     "localhost",
                     {{"Upload-Offset", std::to_string(offset)}},
                     Bytes(10)};
    return round.server.Handle({piece}).replies.at(0).stored_piece_of;
  };
  CHECK(stored(0) == std::nullopt);
  round.Post("reserve", round.good.size(), digest);
  CHECK(stored(0) == 0);
  CHECK(stored(0) == std::nullopt);  // A copy.
  CHECK(stored(20) == std::nullopt);
  CHECK(stored(10) == 0);
  round.Post("reserve", round.good.size(), Digest{});
  CHECK(stored(0) == 1);
}

TEST_CASE(
    "A slice: segments that nobody sent stay and others are weighted by those who sent them") {
  OpenRound round;
  Server& server = round.server;
  const std::vector<float> before = server.model_values();
  wire::Update slice = round.Update();
  slice.streams[0].entries.erase(slice.streams[0].entries.begin());
  REQUIRE(slice.streams[0].entries.size() == 1);
  CHECK(round.Send(slice) == ErrorCode::kOk);
  const auto other = CheckInAs(server, "device-1");
  Put(server, "device-1", other.task->id, GoodUpdate(server.plan(), *other.task, "device-1"));
  const std::vector<float> after = server.model_values();
  const std::vector<float> zero = DeltaOf(server.plan(), "device-0", 1);
  const std::vector<float> one = DeltaOf(server.plan(), "device-1", 1);
  for (std::size_t i = 0; i < after.size(); ++i) {
    const float weight = static_cast<float>(ExamplesOf("device-1"));
    // Weights (6 values) come from device-1 alone; the biases from both.
    const float expected = i < 6 ? one[i] : (10 * zero[i] + weight * one[i]) / (10 + weight);
    CHECK(after[i] == doctest::Approx(before[i] + expected).epsilon(1e-5));
  }
}

TEST_CASE("A check-in: whatever follows an older or newer version, the refusal names both") {
  Server server(MakePlan(PlanText(kTwoClients)));
  for (const unsigned version : {0U, 2U, 65535U}) {
    // Of another form than ours behind the version.
    Bytes body = {std::byte(version & 0xFFU), std::byte(version >> 8U), std::byte{0xFF}};
    const net::Response response =
        server.Send(Device("device-0"), {"POST", "/v1/check-in", "localhost", {}, body});
    CHECK(response.status == 400);
    const auto refusal = Get(wire::Decode<wire::Refusal>(response.body));
    CHECK(static_cast<ErrorCode>(refusal.code) == ErrorCode::kWrongVersion);
    CHECK(refusal.message == "protocol: the server speaks version 1, the client version " +
                                 std::to_string(version) + "; update the older of the two");
  }
  CHECK(server.refusals(0, ErrorCode::kWrongVersion) == 3);
}

TEST_CASE("A check-in: of another protocol or federation or without the codecs is refused") {
  Server server(MakePlan(PlanText(kTwoClients)));
  const auto send = [&](const wire::CheckInRequest& message) {
    return RefusalCode(server.Send(
        Device("device-0"), {"POST", "/v1/check-in", "localhost", {}, wire::Encode(message)}));
  };
  wire::CheckInRequest message;
  message.codecs = KnownStages();
  message.protocol = 9;
  CHECK(send(message) == ErrorCode::kWrongVersion);
  message.protocol = wire::kProtocolVersion;
  message.federation = "other";
  CHECK(send(message) == ErrorCode::kNotFound);
  message.federation = "small";
  message.codecs.clear();
  CHECK(send(message) == ErrorCode::kUnsupported);
  CHECK(server.federation().clients == 0);
}

TEST_CASE("Routes: what is not listed does not exist and roles do not mix") {
  const auto code = [](const net::Peer& peer, const std::string& method,
                       const std::string& target) {
    return CodeOf(DecodeRequest(peer, {method, target, "localhost", {}, {}}));
  };
  CHECK(code(Device("d"), "GET", "/") == ErrorCode::kNotFound);
  CHECK(code(Device("d"), "GET", "/v1/check-in") == ErrorCode::kNotFound);
  CHECK(code(Device("d"), "DELETE", "/v1/updates/0000000000000001") == ErrorCode::kNotFound);
  CHECK(code(Device("d"), "PUT", "/v1/updates/000000000000000G") == ErrorCode::kMalformed);
  CHECK(code(Device("d"), "PUT", "/v1/updates/1") == ErrorCode::kMalformed);
  CHECK(code(Device("d"), "PATCH", "/v1/updates/0000000000000001") == ErrorCode::kMalformed);
  CHECK(code(Device("d"), "GET", "/v1/blobs/12") == ErrorCode::kMalformed);
  CHECK(code(Device("d"), "GET", "/v1/admin/status") == ErrorCode::kUnauthorized);
  CHECK(code(Admin(), "POST", "/v1/check-in") == ErrorCode::kUnauthorized);
  CHECK(code(Admin(), "GET", "/v1/admin/status") == ErrorCode::kOk);
  CHECK(code(Admin(), "GET", "/v1/admin/start") == ErrorCode::kNotFound);
  CHECK(code(Admin(), "POST", "/v1/admin/start") == ErrorCode::kOk);
  CHECK(code(Device("d"), "PUT", "/v1/updates/0000000000000001") == ErrorCode::kOk);
}

}  // namespace
}  // namespace fl::server::testing
