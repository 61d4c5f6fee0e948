#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <vector>

#include <sys/resource.h>

#include "fl/benchmarks/load/fleet.h"
#include "fl/benchmarks/load/plans.h"
#include "fl/benchmarks/load/slow_peers.h"
#include "fl/benchmarks/server.h"
#include "fl/common/crypto/sha256.h"
#include "fl/server/app/run_server.h"

namespace fl::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr std::size_t kHonest = 16;
constexpr std::size_t kSlow = 1000;
constexpr double kArriveSeconds = 5;
constexpr std::size_t kConnected = 10000;
const auto kNever = [] { return false; };

double Since(Clock::time_point begin) {
  return Seconds(Clock::now() - begin).count();
}

// Processor time of this process.
double OwnSeconds() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

std::string Text(const char* format, double a, double b = 0, double c = 0) {
  char text[160];
  std::snprintf(text, sizeof(text), format, a, b, c);
  return text;
}

void RaiseDescriptors() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

// 1,000 slow peers arrive over five seconds while 16 devices send updates.
Result<> AddSlow(Report& report) {
  const ScratchFolder folder(std::filesystem::temp_directory_path());
  const LoadPki pki;
  ServeConfig serve;
  serve.state = folder.path();
  serve.plan = UpdatePlan(kLargeModel, kHonest);
  FL_TRY(const auto plan, MakePlan(serve.plan));
  FL_TRY(const UpdateTemplate update, UpdateTemplate::Of(*plan));
  const std::vector<float> model = plan->InitialModel();
  const std::string blob = "/v1/blobs/" + crypto::Sha256(std::as_bytes(std::span(model))).ToHex();
  FL_TRY(const ServerProcess server, ServerProcess::Start(serve, pki));
  FL_TRY(const TlsContext context, TlsContext::Client(pki.authority()));
  // Rounds would drop the blob that the slow readers ask for: the honest only check in.
  Fleet fleet(pki, context, server.port());
  FL_TRY_OK(fleet.Add(kHonest - 1, nullptr, false));
  fleet.loop().Run(Seconds(2), kNever);
  fleet.counts() = {};
  fleet.loop().Run(Seconds(5), kNever);
  const double quiet = Quantile(fleet.counts().check_in_seconds, 0.99);
  const double quiet_rate = static_cast<double>(fleet.counts().check_ins) / 5;
  const std::size_t descriptors = server.descriptors();
  SlowPeers slow(pki, context, server.port(), blob);
  fleet.counts() = {};
  const auto begin = Clock::now();
  std::size_t added = 0;
  std::size_t most = 0;
  double gone_s = -1;
  double last_came_s = -1;
  while (Since(begin) < 40) {
    const auto due = static_cast<std::size_t>(kSlow * std::min(1.0, Since(begin) / kArriveSeconds));
    for (; added < due; ++added) FL_TRY_OK(slow.Add());
    if (added == kSlow && last_came_s < 0) last_came_s = Since(begin);
    slow.Tick();
    fleet.loop().Run(Seconds(0.1), kNever);
    const std::size_t open = server.descriptors() - std::min(descriptors, server.descriptors());
    most = std::max(most, open);
    if (added == kSlow && Since(begin) > last_came_s + 1 && open == 0) {
      gone_s = Since(begin) - last_came_s;
      break;
    }
  }
  const double honest = Quantile(fleet.counts().check_in_seconds, 0.99);
  report.Add({"load/slow/p99", honest / quiet, "of quiet", Bar::AtMost(2),
              Text("1,000 slow peers; check-ins of 15 devices: p99 %.2f ms, quiet %.2f ms; %.0f a "
                   "second",
                   1000 * honest, 1000 * quiet, quiet_rate)});
  report.Add(
      {"load/slow/gone", gone_s < 0 ? 99 : gone_s, "s", Bar::AtMost(10),
       Text("after the last came; at most %.0f were open at once", static_cast<double>(most))});
  return Ok{};
}

// 10,000 devices over mutual TLS, each with a check-in that is held until its time is over.
Result<> AddConnected(Report& report) {
  RaiseDescriptors();
  const ScratchFolder folder(std::filesystem::temp_directory_path());
  const LoadPki pki;
  ServeConfig serve;
  serve.state = folder.path();
  serve.plan = IdlePlan();
  FL_TRY(const ServerProcess server, ServerProcess::Start(serve, pki));
  FL_TRY(const TlsContext context, TlsContext::Client(pki.authority()));
  Fleet fleet(pki, context, server.port());
  const double before = server.memory_mb();
  const auto begin = Clock::now();
  constexpr std::size_t kTogether = 50;
  for (std::size_t i = 0; i < kConnected; i += kTogether) {
    FL_TRY_OK(fleet.Add(kTogether, nullptr, true));
    fleet.loop().Run(Seconds(10), [&] { return fleet.loop().handshaken() == i + kTogether; });
  }
  const double connected_s = Since(begin);
  fleet.loop().Run(Seconds(90), [&] { return fleet.counts().check_ins >= kConnected; });
  const double open = static_cast<double>(fleet.loop().open());
  report.Add({"load/connected/memory", server.peak_memory_mb(), "MB", Bar::AtMost(800),
              Text("10,000 devices over mutual TLS, connected in %.0f s; %.0f MB before, %.1f KB "
                   "each",
                   connected_s, before, (server.peak_memory_mb() - before) * 1000 / kConnected)});
  report.Add({"load/connected/answered", static_cast<double>(fleet.counts().check_ins), "check-ins",
              Bar::AtLeast(kConnected),
              Text("held until their time was over; %.0f connections open at the end, %.0f refused",
                   open, static_cast<double>(fleet.counts().refused))});
  return Ok{};
}

struct Uploads {
  double rate = 0;           // Updates a second.
  double processors_ms = 0;  // Of the server, for each update.
  double load_ms = 0;        // Of the devices, for each update.
  std::array<std::uint64_t, 2> put_off{};
};

// As many devices as that, each sending update after update of 1.2 MB in pieces.
Result<Uploads> Upload(std::size_t devices) {
  const ScratchFolder folder("/dev/shm");
  const LoadPki pki;
  ServeConfig serve;
  serve.state = folder.path();
  serve.plan = UpdatePlan(kPiecesModel, devices);
  serve.requests_per_second = server::RunOptions().requests_per_second;
  FL_TRY(const auto plan, MakePlan(serve.plan));
  FL_TRY(const UpdateTemplate update, UpdateTemplate::Of(*plan));
  FL_TRY(const ServerProcess server, ServerProcess::Start(serve, pki));
  FL_TRY(const TlsContext context, TlsContext::Client(pki.authority()));
  Fleet fleet(pki, context, server.port());
  FL_TRY_OK(fleet.Add(devices, &update, true));
  // Whole rounds, or what comes of them in so long.
  fleet.loop().Run(Seconds(60), [&] { return fleet.counts().updates >= devices; });
  fleet.counts() = {};
  const auto begin = Clock::now();
  const double spent_s = server.cpu_seconds();
  const double load_spent_s = OwnSeconds();
  const std::size_t wanted = devices * std::max<std::size_t>(1, 640 / devices);
  fleet.loop().Run(Seconds(60), [&] { return fleet.counts().updates >= wanted; });
  Uploads measured;
  const auto updates = static_cast<double>(fleet.counts().updates);
  measured.rate = updates / Since(begin);
  measured.processors_ms = 1000 * (server.cpu_seconds() - spent_s) / std::max(1.0, updates);
  measured.load_ms = 1000 * (OwnSeconds() - load_spent_s) / std::max(1.0, updates);
  measured.put_off = fleet.counts().put_off;
  return measured;
}

// Ten times the best one's devices, none of whom obeys the window that it is given. In turns: what
// else the machine does concerns both.
Result<> AddOverload(Report& report) {
  constexpr std::size_t kBest = 64;
  constexpr std::size_t kTurns = 3;
  std::vector<Uploads> best;
  std::vector<Uploads> flooded;
  std::array<std::uint64_t, 2> put_off{};
  for (std::size_t turn = 0; turn < kTurns; ++turn) {
    FL_TRY(best.emplace_back(), Upload(kBest));
    FL_TRY(flooded.emplace_back(), Upload(10 * kBest));
    for (std::size_t i = 0; i < put_off.size(); ++i) put_off[i] += flooded.back().put_off[i];
  }
  const auto median = [](std::vector<Uploads>& all, double Uploads::*figure) {
    std::ranges::sort(all, {}, figure);
    return all[kTurns / 2].*figure;
  };
  const double best_rate = median(best, &Uploads::rate);
  const double rate = median(flooded, &Uploads::rate);
  report.Add({"load/overload/throughput", rate / best_rate, "of the best", Bar::AtLeast(0.8),
              Text("medians of 3 in turns; 640 devices at once: %.0f updates of 1.2 MB a second; "
                   "64: %.0f",
                   rate, best_rate)});
  const double best_ms = median(best, &Uploads::processors_ms);
  const double ms = median(flooded, &Uploads::processors_ms);
  const double load = median(flooded, &Uploads::load_ms) / median(best, &Uploads::load_ms);
  report.Add({"load/overload/processors",
              ms / best_ms,
              "of the best",
              {},
              Text("the server's for each accepted update: %.1f ms, 64: %.1f; the load's %.2f of "
                   "the best",
                   ms, best_ms, load)});
  report.Add({"load/overload/reservations refused", static_cast<double>(put_off[0]),
              "with a window", Bar::AtLeast(1), "503 and Retry-After"});
  report.Add({"load/overload/others refused", static_cast<double>(put_off[1]), "", Bar::AtMost(0),
              "pieces, commits, check-ins and models"});
  return Ok{};
}

}  // namespace

Result<> RunLoadRows(const ServerConfig& config, Report& report) {
  // What the server closes must not end the load.
  ::signal(SIGPIPE, SIG_IGN);
  const auto wanted = [&](std::string_view part) {
    return part.find(config.only) != std::string_view::npos;
  };
  if (wanted("slow")) FL_TRY_OK(AddSlow(report));
  if (wanted("connected")) FL_TRY_OK(AddConnected(report));
  if (wanted("overload")) FL_TRY_OK(AddOverload(report));
  return Ok{};
}

}  // namespace fl::bench
