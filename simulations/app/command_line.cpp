#include "fl/simulations/app/command_line.h"

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>
#include <sys/resource.h>

#include "fl/common/base/file.h"
#include "fl/common/base/stop_signal.h"
#include "fl/common/data/source.h"
#include "fl/simulations/app/progress.h"
#include "fl/simulations/app/summary.h"
#include "fl/simulations/federation/federation_data.h"
#include "fl/simulations/federation/simulation.h"

namespace fl::sim {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kPlanBytesMax = 1U << 20;
constexpr std::string_view kDataRoot = "data.root=";
constexpr const char* kExample =
    "Example:\n"
    "  fl-sim run configs/quickstart.toml --set rounds.count=5 --threads 2 --out out\n"
    "  fl-sim run configs/quickstart.toml --record-updates rec --record-every 10 --out out\n"
    "  fl-sim split configs/quickstart.toml --out shares\n\n"
    "Relative sources of data are looked for under --set data.root=DIR, else under $FL_DATASETS, "
    "the current folder,\n"
    "the plan's folder and the folder above it.\n\nA source of data is one of\n";

struct Call {
  std::string plan;
  std::vector<std::string> settings;
  std::size_t threads = std::max(1U, std::thread::hardware_concurrency());
  std::optional<std::uint64_t> seed;
  std::string record_updates;
  std::uint64_t record_every = RecordOptions().every;
  std::uint64_t record_mb = RecordOptions().bytes_max / 1000000;
  std::string out;
  std::string log_level = "error";
  bool json = false;
};

int Fail(const Error& error, int status) {
  std::cerr << "fl-sim: " << error.message << '\n';
  return status;
}

// 2 where the call, the plan or what they name is at fault.
int PreparationStatus(const Error& error) {
  return error.code == ErrorCode::kIo || error.code == ErrorCode::kInternal ? 1 : 2;
}

// Takes the data's root out of the settings: it says where this machine keeps its data and is no
// part of the plan.
std::vector<fs::path> TakeRoots(Call& call) {
  std::vector<fs::path> roots;
  for (const std::string& setting : call.settings) {
    if (setting.starts_with(kDataRoot)) roots.emplace_back(setting.substr(kDataRoot.size()));
  }
  std::erase_if(call.settings,
                [](const std::string& setting) { return setting.starts_with(kDataRoot); });
  if (!roots.empty()) return roots;
  const char* datasets =
      std::getenv("FL_DATASETS");  // NOLINT(concurrency-mt-unsafe): before any thread.
  if (datasets != nullptr && *datasets != '\0') roots.emplace_back(datasets);
  const fs::path folder = fs::absolute(call.plan).parent_path();
  roots.insert(roots.end(), {fs::path(), folder, folder.parent_path()});
  return roots;
}

Result<std::shared_ptr<const CheckedPlan>> ReadPlan(const Call& call) {
  FL_TRY(const Bytes bytes, ReadFile(call.plan, kPlanBytesMax));
  std::vector<std::string> settings = call.settings;
  if (call.seed) settings.push_back("seed=" + std::to_string(*call.seed));
  FL_TRY(const std::string text, OverridePlan(AsText(bytes), settings));
  FL_TRY(Plan plan, ParsePlan(text, call.plan));
  return CheckPlan(std::move(plan), call.plan);
}

Result<> MakeFolder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error)
    return Error{ErrorCode::kIo, folder.string() + ": cannot make the folder: " + error.message()};
  return {};
}

// What the operating system says of this process.
void AddUsage(server::ReportTotals& totals) {
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  totals.cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  totals.peak_rss_bytes = static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

Result<> Finish(Simulation& simulation, const Call& call) {
  FL_TRY(server::Report report, simulation.Report());
  AddUsage(report.totals);
  const std::string json = server::ReportToJson(report);
  FL_TRY(const Bytes model, simulation.ExportModel());
  FL_TRY_OK(WriteFileAtomically(fs::path(call.out) / "report.json", AsBytes(json)));
  FL_TRY_OK(WriteFileAtomically(fs::path(call.out) / "model.safetensors", model));
  std::cout << (call.json ? json : FormatSummary(report, call.out)) << std::flush;
  return {};
}

int Play(const Call& call, const std::shared_ptr<const CheckedPlan>& plan, FederationData data) {
  const std::atomic<bool>& stop = WatchStopSignals();
  SystemClock clock;
  const Logger log(ParseLogLevel(call.log_level).value_or(LogLevel::kError));
  const std::uint64_t rounds = plan->plan.rounds.count;
  Result<std::unique_ptr<Simulation>> simulation = Simulation::Create(
      plan, std::move(data),
      {call.threads, {call.record_updates, call.record_every, call.record_mb * 1000000}},
      {clock, stop, log});
  if (!simulation) return Fail(simulation.error(), PreparationStatus(simulation.error()));
  Progress progress(std::cerr, isatty(STDERR_FILENO) == 1);
  const Result<> played = (*simulation)->Run([&](const RoundSeen& seen) {
    progress.Show({seen.published, rounds, seen.accepted, seen.accuracy, seen.loss, seen.bytes_up,
                   seen.seconds});
  });
  progress.Finish();
  if (!played) return Fail(played.error(), 1);
  if (stop) std::cerr << "fl-sim: stopped before the end; the report covers what was published\n";
  const Result<> finished = Finish(**simulation, call);
  return finished ? 0 : Fail(finished.error(), 1);
}

int RunPlan(Call call) {
  const std::vector<fs::path> roots = TakeRoots(call);
  auto plan = ReadPlan(call);
  if (!plan) return Fail(plan.error(), PreparationStatus(plan.error()));
  auto data = LoadFederationData(**plan, roots);
  if (!data) return Fail(data.error(), PreparationStatus(data.error()));
  const Result<> made = MakeFolder(call.out);
  if (!made) return Fail(made.error(), 1);
  if (!call.record_updates.empty() && !(*plan)->plan.compression.residual &&
      !(*plan)->delta.lossless()) {
    std::cerr << "fl-sim: updates are recorded without deltas, which take a plan that keeps "
                 "residuals (compression.residual = true) or sends raw updates\n";
  }
  return Play(call, *plan, std::move(data).value());
}

int Split(Call call) {
  const std::vector<fs::path> roots = TakeRoots(call);
  const auto plan = ReadPlan(call);
  if (!plan) return Fail(plan.error(), PreparationStatus(plan.error()));
  const auto data = LoadFederationData(**plan, roots);
  if (!data) return Fail(data.error(), PreparationStatus(data.error()));
  const Result<> written = WriteShares(*data, call.out);
  if (!written) return Fail(written.error(), 1);
  for (std::size_t i = 0; i < data->shares.size(); ++i) {
    std::cout << (fs::path(call.out) / DeviceName(i) / "data.safetensors").string() << "  "
              << data->shares[i].size() << " samples\n";
  }
  return 0;
}

void AddPlan(CLI::App& command, Call& call) {
  command.add_option("PLAN", call.plan, "The plan, a TOML file")->required();
  command
      .add_option("--set", call.settings,
                  "Change a setting of the plan: KEY.SUBKEY=VALUE; may be repeated")
      ->allow_extra_args(false);
  command.add_option("--seed", call.seed, "The run's seed, in place of the plan's");
}

void AddRecording(CLI::App& run, Call& call) {
  CLI::Option* folder = run.add_option(
      "--record-updates", call.record_updates,
      "Keep accepted updates, and as safetensors what they encode, under this folder: "
      "ROUND/DEVICE.update and .safetensors (local change plus residual), and plan.toml for "
      "fl-codec");
  run.add_option("--record-every", call.record_every, "Of rounds 1, 1 + N, 1 + 2 N, ...")
      ->needs(folder)
      ->check(CLI::Range(1, 1000000000))
      ->capture_default_str();
  run.add_option("--record-limit", call.record_mb, "Stop recording at this many MB")
      ->needs(folder)
      ->check(CLI::Range(1, 1000000000))
      ->capture_default_str();
}

}  // namespace

int RunCommandLine(int argc, const char* const* argv) {
  Call call;
  CLI::App app("Plays a federation of virtual devices on this machine.", "fl-sim");
  app.set_version_flag("--version", "fl-sim " FL_VERSION);
  app.footer(kExample + std::string(data::SourceHelp()));
  app.require_subcommand(1);
  app.failure_message([](const CLI::App*, const CLI::Error& error) {
    return "fl-sim: " + std::string(error.what()) + "; see fl-sim --help\n";
  });
  CLI::App& run =
      *app.add_subcommand("run", "Play the plan; writes OUT/report.json and OUT/model.safetensors");
  AddPlan(run, call);
  run.add_option("--threads", call.threads,
                 "Threads that compute; the result does not depend on them")
      ->check(CLI::Range(1, 1024));
  AddRecording(run, call);
  run.add_option("--out", call.out, "Folder for the results")->required();
  run.add_option("--log-level", call.log_level, "debug, info, warning, error or off")
      ->check(CLI::IsMember({"debug", "info", "warning", "error", "off"}));
  run.add_flag("--json", call.json, "Print the report as JSON instead of a summary");
  CLI::App& split =
      *app.add_subcommand("split", "Write each device's share to OUT/DEVICE-NAME/data.safetensors");
  AddPlan(split, call);
  split.add_option("--out", call.out, "Folder for the shares")->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return run.parsed() ? RunPlan(std::move(call)) : Split(std::move(call));
}

}  // namespace fl::sim
