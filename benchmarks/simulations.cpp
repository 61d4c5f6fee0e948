#include <algorithm>
#include <cstdio>

#include "fl/benchmarks/load/server_process.h"
#include "fl/benchmarks/measure.h"
#include "fl/benchmarks/server.h"

namespace fl::bench {
namespace {

std::string Text(const char* format, double a, double b = 0) {
  char text[120];
  std::snprintf(text, sizeof(text), format, a, b);
  return text;
}

// fl-sim on configs/mnist-shards.toml with settings of its own; the run whose `key` is the median.
Result<Usage> Simulate(const ServerConfig& config, std::size_t threads,
                       const std::vector<std::string>& settings, double Usage::*key) {
  std::vector<Usage> runs;
  for (std::size_t i = 0; i < config.conditions.repeats; ++i) {
    const ScratchFolder folder(std::filesystem::temp_directory_path());
    std::vector<std::string> call = {(config.programs / "fl-sim").string(),
                                     "run",
                                     (config.configs / "mnist-shards.toml").string(),
                                     "--threads",
                                     std::to_string(threads),
                                     "--seed",
                                     std::to_string(config.conditions.seed),
                                     "--out",
                                     folder.path().string(),
                                     "--set",
                                     "data.root=" + config.datasets.string()};
    for (const std::string& setting : settings) call.insert(call.end(), {"--set", setting});
    FL_TRY(runs.emplace_back(), RunProgram(call));
  }
  std::ranges::sort(runs, {}, key);
  return runs[runs.size() / 2];
}

const std::vector<std::string> kLogistic = {"model.layers=[\"flatten\", \"dense 10\"]",
                                            "training.learning_rate=0.1",
                                            "simulation.devices=1000",
                                            "simulation.partition=iid",
                                            "rounds.population_min=1000",
                                            "evaluation.data=\"\""};

// 300 rounds of 10 of the 1,000 users, as pfl is measured, and of 100; the program as a whole, with
// reading the data.
Result<> AddUsers(const ServerConfig& config, Report& report) {
  for (const std::size_t cohort : {10U, 100U}) {
    std::vector<std::string> settings = kLogistic;
    const std::string wanted = std::to_string(cohort);
    settings.insert(settings.end(),
                    {"rounds.count=300", "rounds.goal=" + wanted, "rounds.min_report=" + wanted});
    FL_TRY(const Usage all, Simulate(config, 1, settings, &Usage::cpu_seconds));
    settings[settings.size() - 3] = "rounds.count=1";
    FL_TRY(const Usage start, Simulate(config, 1, settings, &Usage::cpu_seconds));
    const double users = 299.0 * static_cast<double>(cohort);
    const double rate = users / (all.cpu_seconds - start.cpu_seconds);
    report.Add({"sim/users/" + wanted + " a round", rate, "a processor's second",
                Bar::AtLeast(5000),
                Text("reading the data left out (%.2f s); with it %.0f", start.cpu_seconds,
                     300.0 * static_cast<double>(cohort) / all.cpu_seconds)});
    const auto pfl = config.peers.find("pfl_sim");
    if (cohort == 10 && pfl != config.peers.end()) {
      report.Add({"sim/users/pfl", rate / pfl->second, "of pfl", std::nullopt, "10 a round"});
    }
  }
  return Ok{};
}

Result<> AddDevices(const ServerConfig& config, Report& report) {
  const std::vector<std::string> settings = {"simulation.devices=500", "rounds.count=100",
                                             "rounds.population_min=500"};
  FL_TRY(const Usage one, Simulate(config, 1, settings, &Usage::seconds));
  FL_TRY(const Usage two, Simulate(config, 2, settings, &Usage::seconds));
  report.Add({"sim/devices/memory", std::max(one.peak_mb, two.peak_mb), "MB", Bar::AtMost(300),
              "500 devices, 100 rounds of 10, MNIST two shards a device"});
  report.Add({"sim/devices/threads", one.seconds / two.seconds, "of one thread", Bar::AtLeast(1.6),
              Text("2 threads: %.1f s, 1 thread: %.1f s", two.seconds, one.seconds)});
  return Ok{};
}

Result<> AddRound(const ServerConfig& config, Report& report) {
  constexpr double kRounds = 40;
  FL_TRY(const Usage all, Simulate(config, 1, {"rounds.count=41"}, &Usage::seconds));
  FL_TRY(const Usage first, Simulate(config, 1, {"rounds.count=1"}, &Usage::seconds));
  const double seconds = (all.seconds - first.seconds) / kRounds;
  const auto flower = config.peers.find("flower_round_seconds");
  const bool has_flower = flower != config.peers.end();
  report.Add({"sim/mnist round", seconds, "s",
              has_flower ? std::nullopt : std::optional(Bar::AtMost(0.125)),
              "10 of 100 devices of two shards, and the evaluation; one thread"});
  if (has_flower) {
    report.Add({"sim/mnist round/flower", seconds / flower->second, "of Flower's", Bar::AtMost(0.5),
                Text("Flower: %.3f s", flower->second)});
  }
  return Ok{};
}

}  // namespace

Result<> RunSimulationRows(const ServerConfig& config, Report& report) {
  const auto wanted = [&](std::string_view part) {
    return part.find(config.only) != std::string_view::npos;
  };
  if (config.programs.empty() || config.datasets.empty()) {
    report.AddNote("sim/: left out, for want of --programs and --datasets (FL_DATASETS)");
    return Ok{};
  }
  if (wanted("sim users")) FL_TRY_OK(AddUsers(config, report));
  if (wanted("sim devices")) FL_TRY_OK(AddDevices(config, report));
  if (wanted("sim mnist round")) FL_TRY_OK(AddRound(config, report));
  return Ok{};
}

}  // namespace fl::bench
