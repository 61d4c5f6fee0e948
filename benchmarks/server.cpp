#include "fl/benchmarks/server.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "fl/benchmarks/load/fleet.h"
#include "fl/benchmarks/load/plans.h"
#include "fl/benchmarks/load/transport.h"
#include "fl/benchmarks/measure.h"

namespace fl::bench {
namespace {

constexpr std::size_t kConnections = 64;
constexpr double kWarmUpSeconds = 0.5;
const std::filesystem::path kDisk = std::filesystem::temp_directory_path();
const std::filesystem::path kMemory = "/dev/shm";

using Clock = std::chrono::steady_clock;

double Since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

std::string Text(const char* format, double a, double b = 0, double c = 0) {
  char text[160];
  std::snprintf(text, sizeof(text), format, a, b, c);
  return text;
}

// What some devices did in a while, and what it cost the server.
struct Throughput {
  double check_ins = 0;  // A second.
  double updates = 0;    // A second.
  double refused = 0;    // In all.
  double cpu_ms = 0;     // The server's, for each update or else each check-in.
  double check_in_p50 = 0;
  double check_in_p99 = 0;
  double update_p50 = 0;
  double update_p99 = 0;
  double flushes = 0;  // In all.
  double rounds = 0;
};

struct Load {
  std::size_t devices = kConnections;
  bool sends = true;
  bool waits = true;
};

Result<Throughput> Measure(const ServeConfig& serve, const Load& load, double seconds) {
  const LoadPki pki;
  FL_TRY(const auto plan, MakePlan(serve.plan));
  FL_TRY(const UpdateTemplate update, UpdateTemplate::Of(*plan));
  FL_TRY(const ServerProcess server, ServerProcess::Start(serve, pki));
  const OnProcessor pinned(1);
  FL_TRY(const TlsContext context, TlsContext::Client(pki.authority()));
  Fleet fleet(pki, context, server.port());
  FL_TRY_OK(fleet.Add(load.devices, load.sends ? &update : nullptr, load.waits));
  const auto never = [] { return false; };
  fleet.loop().Run(std::chrono::seconds(20),
                   [&] { return fleet.loop().handshaken() == load.devices; });
  fleet.loop().Run(std::chrono::duration<double>(kWarmUpSeconds), never);
  fleet.counts() = {};
  const std::uint64_t first_round = fleet.devices().front().round();
  const double cpu = server.cpu_seconds();
  const std::uint64_t flushes = server.flushes();
  const auto begin = Clock::now();
  fleet.loop().Run(std::chrono::duration<double>(seconds), never);
  const double elapsed = Since(begin);
  const double cpu_ms = 1000 * (server.cpu_seconds() - cpu);
  const Device::Counts& counts = fleet.counts();
  if (fleet.loop().open() != load.devices) {
    return Error{ErrorCode::kIo, "bench: the server closed connections of honest devices"};
  }
  Throughput measured;
  measured.check_ins = static_cast<double>(counts.check_ins) / elapsed;
  measured.updates = static_cast<double>(counts.updates) / elapsed;
  measured.refused = static_cast<double>(counts.refused);
  const std::uint64_t units = load.sends ? counts.updates : counts.check_ins;
  measured.cpu_ms = cpu_ms / static_cast<double>(std::max<std::uint64_t>(1, units));
  measured.check_in_p50 = Quantile(counts.check_in_seconds, 0.5);
  measured.check_in_p99 = Quantile(counts.check_in_seconds, 0.99);
  measured.update_p50 = Quantile(counts.update_seconds, 0.5);
  measured.update_p99 = Quantile(counts.update_seconds, 0.99);
  measured.flushes = static_cast<double>(server.flushes() - flushes);
  measured.rounds = static_cast<double>(fleet.devices().front().round() - first_round);
  return measured;
}

// The median run by `key`, of as many as the conditions say.
Result<Throughput> MedianOf(const ServerConfig& config, const ServeConfig& serve, const Load& load,
                            double Throughput::*key) {
  std::vector<Throughput> runs;
  for (std::size_t i = 0; i < config.conditions.repeats; ++i) {
    const ScratchFolder folder(serve.state);
    ServeConfig one = serve;
    one.state = folder.path();
    FL_TRY(runs.emplace_back(), Measure(one, load, config.seconds));
  }
  std::ranges::sort(runs, {}, key);
  return runs[runs.size() / 2];
}

Result<> AddCheckIns(const ServerConfig& config, Report& report) {
  ServeConfig serve;
  serve.plan = IdlePlan();
  serve.state = kDisk;
  serve.threads = 1;
  serve.one_core = true;
  FL_TRY(const Throughput run,
         MedianOf(config, serve, {kConnections, false, false}, &Throughput::check_ins));
  report.Add({"server/check-ins", run.check_ins, "a second", Bar::AtLeast(10000),
              Text("%.3f ms of the server's processor each; p50 %.2f ms", run.cpu_ms,
                   1000 * run.check_in_p50)});
  report.Add({"server/check-ins/p99", 1000 * run.check_in_p99, "ms", Bar::AtMost(20), ""});
  return Ok{};
}

Result<> AddUpdates(const ServerConfig& config, const std::string& name, const ServeConfig& serve,
                    double bar, Report& report) {
  FL_TRY(const Throughput run, MedianOf(config, serve, {}, &Throughput::updates));
  report.Add({"server/" + name, run.updates, "a second", Bar::AtLeast(bar),
              Text("%.3f ms of the server's processors each; upload p50 %.1f ms, p99 %.1f ms",
                   run.cpu_ms, 1000 * run.update_p50, 1000 * run.update_p99)});
  if (run.refused > 0) report.AddNote("server/" + name + Text(": %.0f refused", run.refused));
  return Ok{};
}

// One commit for each update would be one flush for each, or more.
Result<> AddSlowFlush(const ServerConfig& config, Report& report) {
  ServeConfig serve;
  serve.plan = UpdatePlan(kSmallModel, kConnections);
  serve.state = kDisk;
  serve.flush = std::chrono::milliseconds(5);
  FL_TRY(const Throughput run, MedianOf(config, serve, {}, &Throughput::updates));
  report.Add({"server/updates 4 KB/a flush", run.updates * config.seconds / run.flushes, "updates",
              Bar::AtLeast(3),
              Text("%.0f a second where a flush takes 5 ms more; flushes of check-ins and rounds "
                   "count too",
                   run.updates)});
  return Ok{};
}

Result<> AddThroughput(const ServerConfig& config, Report& report) {
  ServeConfig serve;
  serve.state = kDisk;
  const auto wanted = [&](std::string_view part) {
    return part.find(config.only) != std::string_view::npos;
  };
  if (wanted("check-ins")) FL_TRY_OK(AddCheckIns(config, report));
  if (wanted("updates 4 KB")) {
    serve.plan = UpdatePlan(kSmallModel, kConnections);
    FL_TRY_OK(AddUpdates(config, "updates 4 KB", serve, 1500, report));
  }
  if (wanted("flush")) FL_TRY_OK(AddSlowFlush(config, report));
  serve.plan = UpdatePlan(kLargeModel, kConnections);
  if (wanted("updates 0.80 MB")) {
    FL_TRY_OK(AddUpdates(config, "updates 0.80 MB", serve, 100, report));
  }
  if (wanted("updates 0.80 MB/tmpfs")) {
    serve.state = kMemory;
    FL_TRY_OK(AddUpdates(config, "updates 0.80 MB/tmpfs", serve, 250, report));
  }
  return Ok{};
}

// When each round's last update was sent and when its successor's first task came.
class RoundClock final : public LoadPeer {
 public:
  RoundClock(const UpdateTemplate& update, Device::Counts& counts, std::size_t devices)
      : device_(&update, true, counts), devices_(devices) {}

  Outgoing First() override { return Watch(device_.First()); }
  Outgoing Next(const Incoming& answer) override {
    const std::uint64_t before = device_.round();
    Outgoing next = device_.Next(answer);
    if (device_.round() != before && shared().sent_round > 0 &&
        shared().sent_round + 1 == device_.round()) {
      shared().seconds.push_back(static_cast<float>(Since(shared().last_sent)));
      shared().sent_round = 0;
    }
    return Watch(std::move(next));
  }

  struct Shared {
    std::uint64_t round = 0;  // The one whose updates are being sent.
    std::size_t sent = 0;
    std::uint64_t sent_round = 0;  // The one of which all are.
    Clock::time_point last_sent;
    std::vector<float> seconds;
  };
  static Shared& shared() {
    static Shared shared;
    return shared;
  }

 private:
  Outgoing Watch(Outgoing next) {
    if (!next.head.starts_with("PUT")) return next;
    Shared& all = shared();
    if (all.round != device_.round()) all = {device_.round(), 0, 0, {}, std::move(all.seconds)};
    if (++all.sent == devices_) {
      all.sent_round = all.round;
      all.last_sent = Clock::now();
    }
    return next;
  }

  Device device_;
  const std::size_t devices_;
};

Result<> AddRoundLatency(const ServerConfig& config, Report& report) {
  constexpr std::size_t kDevices = 10;
  constexpr std::size_t kRounds = 50;
  const ScratchFolder folder(kDisk);
  FL_TRY_OK(WriteEvaluationData(folder.path() / "evaluation.csv", config.conditions.seed));
  ServeConfig serve;
  serve.plan = LatencyPlan(kDevices, folder.path() / "evaluation.csv");
  serve.state = folder.path();
  const LoadPki pki;
  FL_TRY(const auto plan, MakePlan(serve.plan));
  FL_TRY(const UpdateTemplate update, UpdateTemplate::Of(*plan));
  FL_TRY(const ServerProcess server, ServerProcess::Start(serve, pki));
  FL_TRY(const TlsContext context, TlsContext::Client(pki.authority()));
  RoundClock::shared() = {};
  Device::Counts counts;
  std::deque<RoundClock> clocks;
  LoadLoop loop(context, server.port());
  for (std::size_t i = 0; i < kDevices; ++i) {
    FL_TRY_OK(loop.Add(clocks.emplace_back(update, counts, kDevices),
                       pki.Certify("device-" + std::to_string(i)), pki.device_key()));
  }
  const auto& seconds = RoundClock::shared().seconds;
  loop.Run(std::chrono::seconds(60), [&] { return seconds.size() >= kRounds; });
  if (seconds.size() < kRounds) {
    return Error{ErrorCode::kIo,
                 "bench: expected 50 rounds in a minute, found " + std::to_string(seconds.size())};
  }
  report.Add({"server/round latency", 1000 * Quantile(seconds, 0.5), "ms", Bar::AtMost(50),
              "last of 10 updates sent -> first task of the next model; 50 rounds"});
  report.Add({"server/round latency/p99", 1000 * Quantile(seconds, 0.99), "ms", std::nullopt, ""});
  return Ok{};
}

}  // namespace

Result<> RunServerRows(const ServerConfig& config, Report& report) {
  const auto wanted = [&](std::string_view part) {
    return part.find(config.only) != std::string_view::npos;
  };
  FL_TRY_OK(AddThroughput(config, report));
  if (wanted("transport upload")) FL_TRY_OK(AddTransport(config, report));
  if (wanted("round latency")) FL_TRY_OK(AddRoundLatency(config, report));
  return Ok{};
}

}  // namespace fl::bench
