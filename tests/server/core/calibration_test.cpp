#include "fl/server/core/calibration.h"

#include <limits>
#include <map>

#include <nlohmann/json.hpp>

#include "fl/compression/deploy/federation_ranges.h"
#include "fl/server/report/report.h"
#include "fl/tests/server/support/fake_fleet.h"

namespace fl::server::testing {
namespace {

const std::vector<std::string> kFleet = {"device-0", "device-1", "device-2"};

constexpr const char* kOneRound = "count = 1\npopulation_min = 3\ngoal = 3\ndeadline_s = 10";

std::string Calibrating(const std::string& keys = "", const std::string& rounds = kOneRound) {
  return PlanText(rounds, "[deployment]\nversion = 1\n[deployment.calibration]\n" + keys +
                              "\n[[deployment.pass]]\npass = \"ptq_static\"\nsamples = 16\n"
                              "ranges = \"federation\"\n[[deployment.pass]]\npass = \"verify\"\n");
}

// A federation whose last round is published: every device has a task to calibrate.
struct Calibration {
  explicit Calibration(const std::string& text = Calibrating()) : server(MakePlan(text)) {
    for (int turn = 0; turn < 50 && server.federation().state == FederationState::kRunning;
         ++turn) {
      for (const std::string& device : kFleet) {
        const auto answer = CheckInAs(server, device);
        if (!answer.task || answer.task->kind != wire::TaskKind::kTrain) continue;
        Put(server, device, answer.task->id, GoodUpdate(server.plan(), *answer.task, device));
      }
    }
    for (const std::string& device : kFleet) {
      const auto answer = CheckInAs(server, device);
      if (answer.task) tasks[device] = *answer.task;
    }
  }
  ErrorCode Send(const std::string& device, const wire::Update& update) {
    return RefusalCode(Put(server, device, tasks.at(device).id, wire::EncodeUpdate(update)));
  }
  ErrorCode SendGood(const std::string& device) {
    return RefusalCode(Put(server, device, tasks.at(device).id,
                           GoodUpdate(server.plan(), tasks.at(device), device)));
  }
  wire::Update Good(const std::string& device) const {
    return CalibrationUpdate(tasks.at(device),
                             CalibrationOf(server.plan(), SamplesOf(server.plan(), device)));
  }
  // What the device is offered now.
  std::optional<wire::Task> Offered(const std::string& device) {
    return CheckInAs(server, device).task;
  }
  FederationState state() { return server.federation().state; }
  CalibrationReport report() {
    return Get(BuildReport(server.storage(), server.plan())).calibration.value();
  }
  std::string last_event() {
    const auto transaction =
        Get(server.storage().Begin(server.plan().name(), TransactionMode::kOptimistic));
    return Get(transaction->Events(server.plan().name())).back().text;
  }

  Server server;
  std::map<std::string, wire::Task> tasks;
};

// The ranges of these devices' samples together, as bytes.
Bytes PooledRanges(const FederationPlan& plan, const std::vector<std::string>& devices) {
  std::vector<float> pooled;
  for (const std::string& device : devices) {
    const std::vector<float> samples = SamplesOf(plan, device);
    pooled.insert(pooled.end(), samples.begin(), samples.end());
  }
  return deploy::EncodeRanges(
      Get(CalibrationOf(plan, pooled).Ranges(plan.checked().calibration->options)));
}

TEST_CASE("Calibration: in any order of arrival all deploy tasks name the ranges of all samples") {
  for (const auto& order : {std::vector<int>{0, 1, 2}, std::vector<int>{2, 0, 1}}) {
    Calibration calibration;
    for (const int i : order) {
      const std::string& device = kFleet[static_cast<std::size_t>(i)];
      CHECK(calibration.state() == FederationState::kCalibrating);
      CHECK(calibration.tasks.at(device).kind == wire::TaskKind::kCalibrate);
      CHECK(calibration.tasks.at(device).model.version == 1);
      CHECK_FALSE(calibration.tasks.at(device).round_parameters.has_value());
      CHECK(calibration.SendGood(device) == ErrorCode::kOk);
    }
    CHECK(calibration.state() == FederationState::kDeploying);
    const Bytes expected = PooledRanges(calibration.server.plan(), kFleet);
    for (const std::string& device : kFleet) {
      const auto task = calibration.Offered(device);
      REQUIRE(task.has_value());
      CHECK(task->kind == wire::TaskKind::kDeploy);
      CHECK(task->round_parameters == crypto::Sha256(expected));
      CHECK(ParametersFor(calibration.server, device, *task) == expected);
    }
    const CalibrationReport report = calibration.report();
    CHECK(report.devices == 3);
    CHECK(report.samples ==
          ExamplesOf("device-0") + ExamplesOf("device-1") + ExamplesOf("device-2"));
    CHECK(report.ranges_sha256 == crypto::Sha256(expected).ToHex());
    PlayAll(calibration.server, kFleet);
    CHECK(calibration.state() == FederationState::kDone);
    // Who comes after the end gets them, too.
    CHECK(calibration.Offered("device-late")->round_parameters == crypto::Sha256(expected));
  }
}

TEST_CASE("Calibration: a plan whose passes use their own ranges goes on as ever") {
  Calibration calibration(
      PlanText(kOneRound,
               "[deployment]\nversion = 1\n[[deployment.pass]]\npass = \"ptq_static\"\n"
               "[[deployment.pass]]\npass = \"verify\"\n"));
  CHECK(calibration.state() == FederationState::kDeploying);
  CHECK(calibration.tasks.at("device-0").kind == wire::TaskKind::kDeploy);
  CHECK_FALSE(calibration.tasks.at("device-0").round_parameters.has_value());
  const Report report = Get(BuildReport(calibration.server.storage(), calibration.server.plan()));
  CHECK(nlohmann::json::parse(ReportToJson(report))["calibration"].is_null());
  wire::Update update =
      UpdateFor(calibration.server.plan(), calibration.tasks.at("device-0"), {}, 1);
  update.streams[0].id = wire::kStreamCalibration;
  CHECK(calibration.Send("device-0", update) == ErrorCode::kStreamMismatch);
}

TEST_CASE("Calibration: each fault has its own code and nothing of it is counted") {
  Calibration calibration(Calibrating("reach_max = 1000"));
  const wire::Update good = calibration.Good("device-0");
  const auto code_with = [&](auto change) {
    wire::Update update = good;
    change(update);
    return calibration.Send("device-0", update);
  };
  const auto code_of_last = [&](nn::Histogram histogram) {
    return code_with(
        [&](wire::Update& u) { u.streams[0].entries.back().payload = histogram.Encode(); });
  };
  using U = wire::Update;
  CHECK(code_with([](U& u) { u.base ^= 1; }) == ErrorCode::kWrongBase);
  CHECK(code_with([](U& u) { u.recipe ^= 1; }) == ErrorCode::kWrongRecipe);
  CHECK(code_with([](U& u) { u.task.value ^= 1; }) == ErrorCode::kUnknownTask);
  CHECK(code_with([](U& u) { u.examples = 0; }) == ErrorCode::kBadWeight);
  CHECK(code_with([](U& u) { u.examples = 17; }) == ErrorCode::kBadWeight);
  CHECK(code_with([](U& u) { u.examples -= 1; }) == ErrorCode::kShapeMismatch);
  CHECK(code_with([](U& u) { u.streams[0].entries.pop_back(); }) == ErrorCode::kShapeMismatch);
  CHECK(code_with([](U& u) { u.streams[0].entries.back().segment = 9; }) ==
        ErrorCode::kShapeMismatch);
  CHECK(code_with([](U& u) {
          u.streams[0].entries.push_back({9, Bytes(10)});
        }) == ErrorCode::kShapeMismatch);
  CHECK(code_with([](U& u) { u.streams[0].entries.clear(); }) == ErrorCode::kShapeMismatch);
  CHECK(code_with([](U& u) { u.streams[0].entries[0].payload.pop_back(); }) ==
        ErrorCode::kMalformed);
  CHECK(code_with([](U& u) { u.streams[0].entries[0].payload.push_back(std::byte{0}); }) ==
        ErrorCode::kMalformed);
  CHECK(code_with([](U& u) {
          const float infinite = std::numeric_limits<float>::infinity();
          std::memcpy(u.streams[0].entries[0].payload.data() + 4, &infinite, sizeof(infinite));
        }) == ErrorCode::kNotFinite);
  CHECK(code_with([](U& u) { u.streams.clear(); }) == ErrorCode::kStreamMismatch);
  CHECK(code_with([](U& u) {
          u.streams.insert(u.streams.begin(), {wire::kStreamDelta, {}});
        }) == ErrorCode::kStreamMismatch);
  nn::Histogram far = Get(nn::Histogram::Decode(good.streams[0].entries.back().payload));
  far.WidenTo(0, 1000);
  nn::Histogram too_far = far;
  too_far.WidenTo(0, 1001);
  CHECK(code_of_last(too_far) == ErrorCode::kNormExceeded);
  CHECK(calibration.report().devices == 0);
  CHECK(calibration.state() == FederationState::kCalibrating);
  CHECK(code_of_last(far) == ErrorCode::kOk);
  CHECK(calibration.report().devices == 1);
}

TEST_CASE("Calibration: more bytes than histograms can have are refused before they come") {
  Calibration calibration;
  const FederationPlan& plan = calibration.server.plan();
  const auto reserve = [&](std::uint64_t bytes) {
    return RefusalCode(calibration.server.Send(
        Device("device-0"), {"POST",
                             TaskTarget(calibration.tasks.at("device-0").id) + "/reserve",
                             "localhost",
                             {},
                             wire::Encode(wire::ReserveRequest{bytes, Digest{}})}));
  };
  const std::uint64_t bytes_max = plan.update_bytes_max(wire::TaskKind::kCalibrate);
  CHECK(bytes_max > plan.update_bytes_max(wire::TaskKind::kTrain));
  CHECK(reserve(bytes_max) == ErrorCode::kOk);
  CHECK(reserve(bytes_max + 1) == ErrorCode::kLimitExceeded);
}

TEST_CASE("Calibration: an update of a train task holds no histograms") {
  Server server(MakePlan(Calibrating()));
  for (const std::string& device : kFleet) CheckInAs(server, device);
  const wire::Task task = CheckInAs(server, "device-0").task.value();
  REQUIRE(task.kind == wire::TaskKind::kTrain);
  wire::Update update = UpdateFor(server.plan(), task, DeltaOf(server.plan(), "device-0", 1), 10);
  const nn::Calibration counted =
      CalibrationOf(server.plan(), SamplesOf(server.plan(), "device-1"));
  update.streams[1] = CalibrationUpdate(task, counted).streams[0];
  const Bytes bytes = wire::EncodeUpdate(update);
  const ErrorCode code = RefusalCode(Put(server, "device-0", task.id, bytes));
  const bool small = bytes.size() <= server.plan().update_bytes_max();
  CHECK(code == (small ? ErrorCode::kStreamMismatch : ErrorCode::kLimitExceeded));
}

TEST_CASE("Calibration: an answer counts once and another one in its place is refused") {
  Calibration calibration;
  CHECK(calibration.SendGood("device-0") == ErrorCode::kOk);
  CHECK(calibration.SendGood("device-0") == ErrorCode::kOk);
  CHECK_FALSE(calibration.Offered("device-0").has_value());
  wire::Update other = calibration.Good("device-0");
  other.streams[0].entries.clear();
  other.examples = 0;
  CHECK(calibration.Send("device-0", other) == ErrorCode::kDuplicate);
  CHECK(calibration.report().devices == 1);
}

TEST_CASE("Calibration: is over once enough devices have sent theirs, and later ones are told") {
  Calibration calibration(Calibrating("devices = 2"));
  CHECK(calibration.SendGood("device-2") == ErrorCode::kOk);
  CHECK(calibration.state() == FederationState::kCalibrating);
  CHECK(calibration.SendGood("device-1") == ErrorCode::kOk);
  CHECK(calibration.state() == FederationState::kDeploying);
  CHECK(calibration.SendGood("device-0") == ErrorCode::kNotNeeded);
  const auto task = calibration.Offered("device-0");
  REQUIRE(task.has_value());
  CHECK(task->kind == wire::TaskKind::kDeploy);
  CHECK(ParametersFor(calibration.server, "device-0", *task) ==
        PooledRanges(calibration.server.plan(), {"device-1", "device-2"}));
  CHECK(calibration.last_event() == "calibration: 2 devices with 21 samples");
}

TEST_CASE("Calibration: at the deadline as many as the plan asks for do and fewer give no ranges") {
  for (const bool enough : {true, false}) {
    Calibration calibration;
    CHECK(calibration.SendGood("device-0") == ErrorCode::kOk);
    if (enough) CHECK(calibration.SendGood("device-1") == ErrorCode::kOk);
    calibration.server.Pass(9.9);
    CHECK(calibration.state() == FederationState::kCalibrating);
    CHECK(calibration.server.wake_at() == calibration.server.now() + FromSeconds(0.1));
    calibration.server.Pass(0.1);
    CHECK(calibration.state() == FederationState::kDeploying);
    CHECK(calibration.Offered("device-2")->round_parameters.has_value() == enough);
    if (!enough) {
      CHECK(calibration.last_event().find("expected at least 2 devices") != std::string::npos);
    }
    // The time for deployments begins only then.
    calibration.server.Pass(9.9);
    CHECK(calibration.state() == FederationState::kDeploying);
  }
}

TEST_CASE("Calibration: a device that has nothing to send is waited for no longer") {
  Calibration calibration;
  wire::Update nothing = calibration.Good("device-0");
  nothing.streams[0].entries.clear();
  nothing.examples = 0;
  CHECK(calibration.Send("device-0", nothing) == ErrorCode::kOk);
  CHECK(calibration.SendGood("device-1") == ErrorCode::kOk);
  CHECK(calibration.SendGood("device-2") == ErrorCode::kOk);
  CHECK(calibration.state() == FederationState::kDeploying);
  CHECK(calibration.report().devices == 2);
  CHECK(ParametersFor(calibration.server, "device-0", *calibration.Offered("device-0")) ==
        PooledRanges(calibration.server.plan(), {"device-1", "device-2"}));
}

TEST_CASE("Calibration: after more rounds devices calibrate the newer model") {
  const auto storage = Get(OpenSqliteStorage(":memory:"));
  Digest first;
  {
    Server server(MakePlan(Calibrating()), storage.get());
    PlayAll(server, kFleet);
    first = CheckInAs(server, "device-late").task->round_parameters.value();
  }
  Server server(
      MakePlan(Calibrating("", "count = 2\npopulation_min = 3\ngoal = 3\ndeadline_s = 10")),
      storage.get());
  PlayAll(server, kFleet);
  CHECK(server.federation().version == 2);
  // Fake devices' samples are the same, and so is their model; only the newer blob is left.
  const auto task = CheckInAs(server, "device-late").task.value();
  CHECK(task.model.version == 2);
  CHECK(task.round_parameters == first);
  CHECK(ParametersFor(server, "device-late", task) == PooledRanges(server.plan(), kFleet));
}

TEST_CASE("CalibrationTally: comes back from its bytes, and damaged ones are told") {
  const auto plan = MakePlan(Calibrating());
  CalibrationTally tally = CalibrationTally::Of(*plan, 7);
  const nn::Calibration counted = CalibrationOf(*plan, SamplesOf(*plan, "device-0"));
  tally.Add(counted.histograms, counted.samples);
  tally.Add({}, 0);
  CHECK(tally.answered == 2);
  CHECK(Get(CalibrationTally::Decode(tally.Encode())) == tally);
  tally.ranges = crypto::Sha256({});
  const Bytes bytes = tally.Encode();
  CHECK(Get(CalibrationTally::Decode(bytes)) == tally);
  for (const std::size_t size : {std::size_t{0}, std::size_t{3}, bytes.size() - 1})
    CHECK(CodeOf(CalibrationTally::Decode(ByteSpan(bytes).first(size))) == ErrorCode::kInternal);
}

TEST_CASE("CalibrationTally: has no room for counts that would no longer be exact") {
  const auto plan = MakePlan(Calibrating());
  CalibrationTally tally = CalibrationTally::Of(*plan, 1);
  constexpr std::uint64_t kSamplesMax = (1ULL << 53U) / 3;  // The output has three elements.
  tally.samples = kSamplesMax - 10;
  CHECK(tally.HasRoomFor(*plan, 10));
  CHECK_FALSE(tally.HasRoomFor(*plan, 11));
}

}  // namespace
}  // namespace fl::server::testing
