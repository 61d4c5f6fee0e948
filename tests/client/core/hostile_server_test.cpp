#include <zlib.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <limits>
#include <set>

#include <doctest/doctest.h>

#include "fl/client/core/client_core.h"
#include "fl/client/state/file_content_cache.h"
#include "fl/common/crypto/sha256.h"
#include "fl/common/wire/model_change.h"
#include "fl/tests/client/fake_federation.h"
#include "fl/tests/support/heap_meter.h"
#include "fl/tests/support/temporary_folder.h"

// What a hostile server can do to a device with tasks, models, changes, round parameters, ranges
// and plans: cost it a check-in. The device goes on, in bounded memory and on a bounded disk.
namespace fl::client {
namespace {

using fl::testing::HeapPeak;
using testing::Device;
using testing::FakeServer;
using testing::MakeData;
using testing::PlanText;

constexpr std::size_t kMiB = 1U << 20;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

const std::string kDeploying = R"([deployment]
version = 1
[[deployment.pass]]
pass = "ptq_static"
samples = 16
ranges = "federation"
[[deployment.pass]]
pass = "verify"
)";

using Spoil = std::function<void(FakeServer&, wire::CheckInAnswer&)>;

struct Trick {
  std::string complaint;  // What the device's log says about it.
  Spoil spoil;
};

// A device meets one bad answer and then a server as it should be.
void CheckGoesOn(const std::string& plan, const Trick& trick) {
  CAPTURE(trick.complaint);
  FakeServer server(plan);
  wire::CheckInAnswer answer = server.Idle();
  answer.task = server.MakeTask(std::nullopt);
  trick.spoil(server, answer);
  server.scripted = answer;
  MemoryContentCache cache;
  Device device(server, cache, MakeData(server.plan()));
  const HeapPeak peak;
  REQUIRE(device.Run());
  CHECK(peak.bytes() <= 9 * kMiB);
  CHECK(device.outcome->has_value());
  CHECK(device.trainings == 3);
  CHECK(server.accepted.size() == 3);
  const bool said = std::ranges::any_of(device.messages, [&](const std::string& message) {
    return message.find(trick.complaint) != std::string::npos;
  });
  CHECK_MESSAGE(said, "said nothing of: ", trick.complaint);
}

Bytes Little(std::initializer_list<float> values) {
  ByteWriter out;
  for (const float value : values) out.Write(value);
  return std::move(out).Take();
}

// A task whose model comes as that blob, whole or as a change from version 0.
Spoil Model(Bytes blob, bool change, bool right_digest = false) {
  return [blob = std::move(blob), change, right_digest](FakeServer& server,
                                                        wire::CheckInAnswer& answer) {
    wire::ModelSource& model = answer.task->model;
    model.version = 1;
    model.digest = right_digest ? crypto::Sha256(blob) : Digest{};
    model.blob = server.AddBlob(blob);
    model.blob_bytes = blob.size();
    if (change) model.change_from = 0;
  };
}

Bytes Change(std::string_view magic, unsigned version, std::uint64_t count,
             const std::function<void(ByteWriter&)>& rest) {
  ByteWriter out;
  out.WriteSpan(AsBytes(magic));
  out.Write(static_cast<std::uint8_t>(version));
  out.WriteVarint(count);
  rest(out);
  return std::move(out).Take();
}

// A zlib stream of that many zeros.
Bytes Zeros(std::size_t count) {
  const std::vector<std::uint8_t> zeros(count);
  uLongf size = compressBound(count);
  Bytes stream(size);
  compress2(reinterpret_cast<Bytef*>(stream.data()), &size, zeros.data(), count, 9);
  stream.resize(size);
  return stream;
}

// The four planes of a change of 15 values, the last one with what follows.
Bytes Planes(const Bytes& plane, ByteSpan behind = {}) {
  return Change("FLM", 1, 15, [&](ByteWriter& out) {
    for (int i = 0; i < 4; ++i) {
      out.WriteVarint(plane.size());
      out.WriteSpan(plane);
    }
    out.WriteSpan(behind);
  });
}

// A stretch of bytes that a change of 15 values may have, and that inflates to 200 KB.
Bytes Bomb() {
  return Zeros(200000);
}

Spoil Task(const std::function<void(wire::Task&)>& change) {
  return [change](FakeServer&, wire::CheckInAnswer& answer) { change(*answer.task); };
}

std::vector<Trick> TaskTricks() {
  return {
      {"a task's id is never 0", Task([](wire::Task& task) { task.id = 0; })},
      {"unknown kind of task 9",
       Task([](wire::Task& task) { task.kind = static_cast<wire::TaskKind>(9); })},
      {"the window for the next check-in",
       [](FakeServer&, wire::CheckInAnswer& answer) { answer.again_min_ms = 1000; }},
      {"a change between versions without the blob",
       Task([](wire::Task& task) { task.model.change_from = 0; })},
      {"the task's recipe is not the plan's", Task([](wire::Task& task) { ++task.recipe; })},
      {"the server names no blob for it", Task([](wire::Task& task) {
         task.model.version = 5;
         task.model.digest = Digest{};
       })},
      {"bytes for a model of 60", Task([](wire::Task& task) {
         task.model.digest = Digest{};
         task.model.blob = Digest{};
         task.model.blob_bytes = 1ULL << 60U;
       })},
      {"a change from version 3", Task([](wire::Task& task) {
         task.model.digest = Digest{};
         task.model.blob = Digest{};
         task.model.blob_bytes = 20;
         task.model.change_from = 3;
       })},
      {"gives up the task: no", Task([](wire::Task& task) {
         task.model.digest = Digest{};
         task.model.blob = Digest{};
         task.model.blob_bytes = 60;
       })},
      {"a task to calibrate, which the plan does not ask for",
       Task([](wire::Task& task) { task.kind = wire::TaskKind::kCalibrate; })},
      {"round parameters: expected 0 bytes",
       [](FakeServer& server, wire::CheckInAnswer& answer) {
         answer.task->round_parameters = server.AddBlob(Bytes(1000));
       }},
  };
}

std::vector<Trick> ModelTricks() {
  const Bytes none = Zeros(15);
  const Bytes few = Zeros(14);
  return {
      {"expected digest", Model(Bytes(60), false)},
      {"model: a parameter is not finite",
       Model(Little({kNan, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}), false, true)},
      {"expected FLM", Model(Change("XYZ", 1, 15, [](ByteWriter&) {}), true)},
      {"expected version 1", Model(Change("FLM", 2, 15, [](ByteWriter&) {}), true)},
      {"expected 15 values, found 4294967296",
       Model(Change("FLM", 1, 1ULL << 32U, [](ByteWriter&) {}), true)},
      {"expected a zlib stream of 15 bytes", Model(Planes(few), true)},
      {"expected a zlib stream of 15 bytes", Model(Change("FLM", 1, 15,
                                                          [](ByteWriter& out) {
                                                            const Bytes bomb = Bomb();
                                                            out.WriteVarint(bomb.size());
                                                            out.WriteSpan(bomb);
                                                          }),
                                                   true)},
      {"more bytes, found",
       Model(Change("FLM", 1, 15, [](ByteWriter& out) { out.WriteVarint(1ULL << 62U); }), true)},
      {"bytes too many", Model(Planes(none, Bytes(3)), true)},
      {"the plan has no lattice", Model(Change("FLL", 2, 15, [](ByteWriter&) {}), true)},
      {"the server sent other bytes",
       [](FakeServer& server, wire::CheckInAnswer& answer) {
         Model(Bytes(60), false)(server, answer);
         server.Spoil(*answer.task->model.blob, Bytes(60, std::byte{7}));
       }},
      {"expected a blob of 60 bytes, found 9",
       [](FakeServer& server, wire::CheckInAnswer& answer) {
         Model(Bytes(60), false)(server, answer);
         server.Spoil(*answer.task->model.blob, Bytes(9));
       }},
  };
}

std::vector<Trick> PlanTricks() {
  const auto plan = [](const std::string& text) -> Spoil {
    return [text](FakeServer& server, wire::CheckInAnswer& answer) {
      answer.plan = server.AddBlob(ToBytes(text));
    };
  };
  const auto model = [plan](const std::string& layers) {
    return plan("name = \"tiny\"\n[model]\ninput = [1000000]\nlayers = [" + layers + "]\n" +
                kDeploying);
  };
  return {
      {"the server's plan:1:", plan("= = =")},
      {"the server's plan", plan(std::string(1000, '\0'))},
      {"the server's plan", plan("name = \"tiny\"\nunheard_of = 1\n")},
      {"the server's plan", plan(std::string(100000, '['))},
      {"parameters in all", model("\"dense 2000\"")},
      {"parameters in all", model("\"dense 1000\", \"dense 1000000\"")},
      {"the server sent other bytes",
       [](FakeServer& server, wire::CheckInAnswer& answer) {
         answer.plan = server.AddBlob(ToBytes("name = \"tiny\""));
         server.Spoil(answer.plan, ToBytes("name = \"other\""));
       }},
  };
}

std::vector<Trick> RangesTricks() {
  const auto ranges = [](const Bytes& blob) -> Spoil {
    return [blob](FakeServer& server, wire::CheckInAnswer& answer) {
      answer.task->kind = wire::TaskKind::kDeploy;
      answer.task->round_parameters = server.AddBlob(blob);
    };
  };
  const auto head = [](unsigned version, std::uint64_t nodes, const Bytes& rest) {
    return Change("FLR", version, nodes, [&](ByteWriter& out) { out.WriteSpan(rest); });
  };
  return {
      {"expected the magic \"FLR\"", ranges(Bytes(20))},
      {"ranges: expected format version", ranges(head(7, 2, Little({-1, 1, -1, 1})))},
      {"ranges: expected those of 2 nodes", ranges(head(1, 1ULL << 40U, {}))},
      {"is not finite", ranges(head(1, 2, Little({kNan, 1, -1, 1})))},
      {"around zero", ranges(head(1, 2, Little({1, 2, -1, 1})))},
      {"more bytes, found", ranges(head(1, 2, Little({-1, 1})))},
      {"bytes too many", ranges(head(1, 2, Little({-1, 1, -1, 1, 0})))},
  };
}

TEST_CASE("A hostile server: each bad task costs a device one check-in") {
  for (const Trick& trick : TaskTricks()) CheckGoesOn(PlanText("raw"), trick);
}

TEST_CASE("A hostile server: each bad model or change costs a device one check-in") {
  for (const Trick& trick : ModelTricks()) CheckGoesOn(PlanText("raw"), trick);
}

TEST_CASE("A hostile server: each bad plan costs a device one check-in and hardly any memory") {
  for (const Trick& trick : PlanTricks()) CheckGoesOn(PlanText("raw"), trick);
}

TEST_CASE("A hostile server: bad ranges cost a device one check-in") {
  for (const Trick& trick : RangesTricks()) CheckGoesOn(PlanText("raw", kDeploying), trick);
}

TEST_CASE("A hostile server: answers to an upload that make no sense lose no update for good") {
  using Spoiled = std::function<net::Response(const net::Request&)>;
  const auto says = [](std::uint64_t committed, bool accepted) {
    return testing::Answer(wire::Encode(wire::UploadAnswer{committed, accepted, 1}));
  };
  const std::vector<Spoiled> all = {
      [&](const net::Request&) { return says(0, false); },
      [&](const net::Request&) { return says(~std::uint64_t{0}, false); },
      [&](const net::Request&) { return testing::Answer(Bytes(100000)); },
      [&](const net::Request&) {
        return net::Response{200, {{"Upload-Offset", "99999999999999999999"}}, {}};
      },
      [&](const net::Request&) { return testing::Answer({}, 302); },
  };
  for (const std::size_t chunk_bytes : {std::size_t{40}, std::size_t{1} << 20U}) {
    for (const Spoiled& spoiled : all) {
      FakeServer server(PlanText("raw"));
      MemoryContentCache cache;
      cache.StorePlan(server.Idle().plan, PlanText("raw"), testing::MakePlan(PlanText("raw")));
      ClientOptions options;
      options.chunk_bytes = chunk_bytes;
      Device device(server, cache, MakeData(server.plan()), options);
      int left = 5;
      device.carries = [&](std::size_t, const net::Request& request, FakeServer& to) {
        const bool upload = request.target.starts_with("/v1/updates/");
        if (upload && left > 0) {
          --left;
          return Result<net::Response>(spoiled(request));
        }
        return Result<net::Response>(to.Handle(request));
      };
      REQUIRE(device.Run());
      CHECK(left == 0);
      // A reservation that was never made costs a training at most.
      CHECK(device.trainings <= 4);
      CHECK(server.accepted.size() == 3);
    }
  }
}

TEST_CASE("A hostile server: ever new plans and models fill neither memory nor disk") {
  fl::testing::TemporaryFolder folder;
  FakeServer server(PlanText("raw"));
  FileContentCache cache(folder.path());
  Device device(server, cache, MakeData(server.plan()));
  int number = 0;
  device.carries = [&](std::size_t, const net::Request& request, FakeServer& to) {
    if (request.target == "/v1/check-in" && number < 100) {
      wire::CheckInAnswer answer = to.Idle();
      answer.task = to.MakeTask(std::nullopt);
      answer.plan = to.AddBlob(ToBytes(PlanText("raw") + "# " + std::to_string(++number)));
      const Bytes model =
          Little({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, static_cast<float>(number)});
      answer.task->kind = wire::TaskKind::kTrain;
      answer.task->recipe += 1;
      answer.task->model.version = 1;
      answer.task->model.digest = crypto::Sha256(model);
      answer.task->model.blob = to.AddBlob(model);
      answer.task->model.blob_bytes = model.size();
      return Result<net::Response>(testing::Answer(wire::Encode(answer)));
    }
    return Result<net::Response>(to.Handle(request));
  };
  REQUIRE(device.Run(20000));
  CHECK(number == 100);
  CHECK(device.trainings == 3);
  std::uint64_t bytes = 0;
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    ++files;
    bytes += entry.file_size();
  }
  CHECK(files <= FileContentCache::kPlansMax + FileContentCache::kModelsMax);
  CHECK(bytes < 10000);
}

TEST_CASE("Content cache: the newest plans alone are kept in memory") {
  MemoryContentCache cache;
  const auto plan = testing::MakePlan(PlanText("raw"));
  const auto digest = [](int i) { return crypto::Sha256(AsBytes(std::to_string(i))); };
  for (int i = 0; i < 20; ++i) cache.StorePlan(digest(i), "", plan);
  CHECK(plan.use_count() <= 6);
  CHECK(cache.FindPlan(digest(19)) != nullptr);
  CHECK(cache.FindPlan(digest(0)) == nullptr);
}

}  // namespace
}  // namespace fl::client
