#include <algorithm>
#include <cstdlib>
#include <ctime>

#include "fl/tests/server/support/fake_fleet.h"
#include "fl/tests/support/heap_meter.h"
#include "fl/tests/support/property.h"

// What hostile bytes may cost the server: no crash, and little memory beyond what the plan's own
// updates cost.
namespace fl::server::testing {
namespace {

using fl::testing::ForAll;
using fl::testing::HeapPeak;

constexpr std::size_t kMiB = 1U << 20;

// A tensor of about a megabyte for each way of writing values; an update may take some megabytes.
std::string WidePlan() {
  std::string text = R"(name = "wide"
seed = 7
[model]
input = [400]
layers = ["dense 600", "dense 400", "dense 600", "dense 400", "dense 600", "dense 400", "dense 10"]
[rounds]
count = 1
population_min = 1
goal = 1
[privacy]
norm_bound = 1e6
[compression]
gather_below = 1
)";
  const std::vector<std::pair<int, std::string>> recipes = {
      {1, "quantize 3"},
      {2, "top_k 10%"},
      {3, "low_rank energy=80% max=8 | quantize 4"},
      {4, "quantize 4 | context"},
      {5, "dead_zone 1 | rice"},
      {6, "quantize 4 | rans"}};
  for (const auto& [layer, recipe] : recipes) {
    text += "[[compression.recipe]]\ntensors = \"dense" + std::to_string(layer) +
            ".weight\"\nrecipe = \"" + recipe + "\"\n";
  }
  return text;
}

// The values of the largest tensor, as the norm needs them.
std::size_t PlanBuffers(const FederationPlan& plan) {
  std::size_t largest = 0;
  for (const Segment& segment : plan.streams()[0].segments->segments()) {
    largest = std::max(largest, segment.codec->count());
  }
  return largest * sizeof(float);
}

struct Given {
  Given() : plan(MakePlan(WidePlan())) {
    task.id = 77;
    task.federation = plan->name();
    base.digest = crypto::Sha256(AsBytes("base"));
    offered.id = task.id;
    offered.model.digest = base.digest;
    offered.recipe = plan->recipe();
    const std::vector<float> delta = DeltaOf(*plan, "device-0", 1);
    good = UpdateFor(*plan, offered, delta, 10);
  }
  Result<CheckedUpdate> Check(ByteSpan bytes) const {
    return CheckUpdate(*plan, {task, base, std::nullopt}, bytes, plan->initial_parameters());
  }

  std::shared_ptr<const FederationPlan> plan;
  TaskRow task;
  ModelRow base;
  wire::Task offered;
  wire::Update good;
};

Bytes RandomBytes(RngStream& rng, std::size_t size) {
  Bytes bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(rng.UniformInteger(256));
  return bytes;
}

// An update whose header and CRCs are right and one of whose payloads holds noise.
wire::Update Disturbed(const Given& given, RngStream& rng) {
  wire::Update update = given.good;
  auto& entries = update.streams[0].entries;
  Bytes& payload = entries[rng.UniformInteger(entries.size())].payload;
  const std::uint64_t how = rng.UniformInteger(3);
  if (how == 0) payload = RandomBytes(rng, rng.UniformInteger(100000));
  if (how == 1) payload.resize(rng.UniformInteger(payload.size() + 1));
  for (int i = 0; how == 2 && i < 5; ++i) {
    payload[rng.UniformInteger(payload.size())] ^=
        static_cast<std::byte>(1 + rng.UniformInteger(255));
  }
  return update;
}

std::uint64_t Seeds(std::uint64_t usual) {
  const char* const text = std::getenv("FL_HOSTILE_SEEDS");  // NOLINT(concurrency-mt-unsafe)
  return text != nullptr ? std::strtoull(text, nullptr, 10) : usual;
}

TEST_CASE(
    "Hostile updates: no disturbed payload crashes or costs 8 MiB beyond the plan's buffers") {
  const Given given;
  REQUIRE(given.Check(wire::EncodeUpdate(given.good)).has_value());
  const std::size_t allowed = 8 * kMiB + PlanBuffers(*given.plan);
  std::size_t most = 0;
  ForAll(Seeds(40), [&](RngStream& rng) {
    const Bytes bytes = wire::EncodeUpdate(Disturbed(given, rng));
    const HeapPeak peak;
    const auto checked = given.Check(bytes);
    CHECK(peak.bytes() <= allowed);
    most = std::max(most, peak.bytes());
  });
  MESSAGE("at most ", most / 1024, " KiB");
}

TEST_CASE(
    "Hostile requests: no bytes of up to 1 MiB crash or cost 8 MiB beyond the plan's buffers") {
  const Given given;
  const std::size_t allowed = 8 * kMiB + PlanBuffers(*given.plan);
  const std::vector<std::pair<std::string, std::string>> routes = {
      {"POST", "/v1/check-in"},
      {"PUT", TaskTarget(77)},
      {"PATCH", TaskTarget(77)},
      {"POST", TaskTarget(77) + "/reserve"},
      {"POST", TaskTarget(77) + "/commit"}};
  ForAll(Seeds(40), [&](RngStream& rng) {
    const std::size_t size =
        rng.UniformInteger(2) == 0 ? rng.UniformInteger(200) : rng.UniformInteger(kMiB);
    const Bytes bytes = RandomBytes(rng, size);
    const auto& [method, target] = routes[rng.UniformInteger(routes.size())];
    const net::Request request{method, target, "localhost", {{"Upload-Offset", "0"}}, bytes};
    const HeapPeak peak;
    const auto decoded = DecodeRequest(Device("device-0"), request);
    const auto checked = given.Check(bytes);
    CHECK_FALSE(checked.has_value());
    CHECK(peak.bytes() <= allowed);
  });
}

// The head of an update of this task, with its CRC.
ByteWriter HeadOf(const Given& given, std::uint64_t streams) {
  ByteWriter out;
  out.WriteSpan(AsBytes("FLU"));
  out.Write(std::uint8_t{1});
  out.Write(given.task.id);
  out.Write(given.base.digest.prefix());
  out.Write(given.plan->recipe());
  out.WriteVarint(10);
  out.WriteVarint(streams);
  out.Write(Crc32(out.bytes()));
  return out;
}

// What the bombs of a test cost at most; the time is a report, not a check.
struct Cost {
  double milliseconds = 0;
  std::size_t bytes = 0;
};

double CpuMilliseconds() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) / 1e6;
}

// Refused, at the cost of no more than 9 MiB.
void CheckBomb(const Given& given, ByteSpan bytes, const char* what, Cost& most) {
  CAPTURE(what);
  const double begin = CpuMilliseconds();
  const HeapPeak peak;
  const auto checked = given.Check(bytes);
  const double took = CpuMilliseconds() - begin;
  CHECK_FALSE(checked.has_value());
  CHECK(peak.bytes() <= 9 * kMiB);
  most.milliseconds = std::max(most.milliseconds, took);
  most.bytes = std::max(most.bytes, peak.bytes());
}

TEST_CASE("Bombs: a few bytes that stand for many are refused within 9 MiB") {
  const Given given;
  const std::size_t half = kMiB / 2;
  Cost most;
  // As many entries as a megabyte has room for, two bytes each.
  ByteWriter entries = HeadOf(given, 1);
  entries.WriteVarint(0);
  entries.WriteVarint(half);
  for (std::size_t i = 0; i < half; ++i) entries.WriteSpan(Bytes(2));
  entries.Write(Crc32(entries.bytes()));
  CheckBomb(given, entries.bytes(), "entries", most);
  // As many streams.
  ByteWriter streams = HeadOf(given, 2);
  for (std::size_t i = 0; i < half; ++i) streams.WriteSpan(Bytes(2));
  CheckBomb(given, streams.bytes(), "streams", most);
  // A payload that declares the whole address space.
  for (const std::uint64_t size : {std::uint64_t{1} << 30U, ~std::uint64_t{0}}) {
    ByteWriter declared = HeadOf(given, 1);
    for (const std::uint64_t number :
         {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{0}, size}) {
      declared.WriteVarint(number);
    }
    declared.Write(Crc32(declared.bytes()));
    CheckBomb(given, declared.bytes(), "payload size", most);
  }
  // Each codec's own counts, as large as they can be said.
  for (std::size_t i = 0; i < given.good.streams[0].entries.size(); ++i) {
    for (const unsigned fill : {0xFFU, 0x7FU, 0x80U, 0x01U}) {
      wire::Update update = given.good;
      update.streams[0].entries = {{i, Bytes(33000, static_cast<std::byte>(fill))}};
      CheckBomb(given, wire::EncodeUpdate(update), "payload", most);
    }
  }
  MESSAGE("refused in at most ", most.milliseconds, " ms of a core and ", most.bytes / 1024,
          " KiB");
}

TEST_CASE("Bombs: a message that declares long lists or texts is refused within 9 MiB") {
  for (const std::uint64_t count :
       {std::uint64_t{16384}, std::uint64_t{1} << 32U, ~std::uint64_t{0}}) {
    ByteWriter out;
    out.Write(wire::kProtocolVersion);
    out.WriteVarint(count);
    const HeapPeak peak;
    CHECK_FALSE(wire::Decode<wire::CheckInRequest>(out.bytes()).has_value());
    CHECK(peak.bytes() <= 9 * kMiB);
  }
}

}  // namespace
}  // namespace fl::server::testing
