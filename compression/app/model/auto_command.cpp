#include <algorithm>
#include <array>
#include <filesystem>
#include <iostream>
#include <string_view>
#include <utility>

#include "fl/common/base/file.h"
#include "fl/common/base/stop_signal.h"
#include "fl/common/config/hardware_profile.h"
#include "fl/common/config/pass_file.h"
#include "fl/compression/app/model/call.h"
#include "fl/compression/app/model/machine_instruments.h"
#include "fl/compression/app/model/pareto_plot.h"
#include "fl/compression/app/model/probe.h"
#include "fl/compression/app/model/quantity.h"
#include "fl/compression/app/model/search_report.h"
#include "fl/compression/app/text_table.h"
#include "fl/compression/deploy/search/auto_search.h"

namespace fl::model_app {
namespace {

void PrintProgress(std::string_view line) {
  std::cerr << line << std::endl;
}

// What the search writes lies beside the model: "small.safetensors" -> "small.passes.toml".
std::string Beside(const Call& call, const std::string& ending) {
  return std::filesystem::path(call.out).replace_extension(ending).string();
}

Result<deploy::Preference> ParsePreference(const std::string& text) {
  constexpr std::array<std::string_view, 5> kNames = {"balance", "bytes", "latency", "accuracy",
                                                      "dominance"};
  const auto* const found = std::ranges::find(kNames, text);
  if (found != kNames.end()) return static_cast<deploy::Preference>(found - kNames.begin());
  return Error{
      ErrorCode::kInvalidArgument,
      "--prefer: expected balance, bytes, latency, accuracy or dominance, found \"" + text + "\""};
}

Result<deploy::SearchConfig> ConfigOf(const Call& call) {
  deploy::SearchConfig config;
  FL_TRY(config.prefer, ParsePreference(call.prefer));
  config.budget.drop_points_max = call.max_drop;
  if (!call.max_bytes.empty()) {
    FL_TRY(config.budget.bytes_max, ParseBytes(call.max_bytes));
  }
  if (!call.max_latency.empty()) {
    FL_TRY(config.budget.latency_us_max, ParseMicroseconds(call.max_latency));
  }
  config.seconds = call.seconds;
  config.random = call.random;
  config.measured_here = call.profile.empty();
  FL_TRY_OK(config.Validate());
  return config;
}

// Of the device: from the file, or of this machine, and written so that the search can be repeated.
Result<HardwareProfile> ProfileOf(const Call& call) {
  if (!call.profile.empty()) return LoadProfile(call.profile);
  deploy::Instruments instruments = MachineInstruments();
  instruments.runs = 40;
  PrintProgress("probing this machine; --profile takes another device's, or the same again");
  FL_TRY(HardwareProfile profile, ProbeMachine(instruments));
  const std::string text = ProfileToToml(profile);
  FL_TRY_OK(WriteFileAtomically(Beside(call, ".profile.toml"), std::as_bytes(std::span(text))));
  return profile;
}

Result<> WriteText(const std::string& path, const std::string& text) {
  return WriteFileAtomically(path, std::as_bytes(std::span(text)));
}

Result<> WriteOutcome(const Call& call, const deploy::SearchOutcome& outcome) {
  FL_TRY_OK(WriteText(Beside(call, ".search.json"), SearchToJson(outcome)));
  if (!outcome.trials.empty())
    FL_TRY_OK(WriteText(Beside(call, ".search.svg"), DrawParetoPlot(outcome)));
  std::cout << (call.json ? SearchToJson(outcome) : DrawSearch(outcome)) << std::flush;
  if (!outcome.chosen) {
    return Error{ErrorCode::kLimitExceeded, call.out + " was not written: " + outcome.unreached};
  }
  const deploy::Trial& chosen = outcome.trials[*outcome.chosen];
  const std::string head = "# Found by fl-model compress --auto --seed " +
                           std::to_string(call.seed) + ": " + chosen.name +
                           ".\n# The same model, data and seed make the same file with it.\n";
  FL_TRY_OK(WriteText(Beside(call, ".passes.toml"), head + PassFileToToml(chosen.list)));
  FL_TRY_OK(WriteFileAtomically(call.out, outcome.model));
  if (call.json) return {};
  std::cout << "\n"
            << (outcome.cut_short ? "cut short by the time or a signal, with the best until then\n"
                                  : "")
            << call.out << ": " << codec_app::FormatCount(outcome.model.size()) << " bytes; "
            << Beside(call, ".passes.toml") << " makes it without the search\n";
  return {};
}

}  // namespace

Result<> CompressAutomatically(const Call& call) {
  FL_TRY(const deploy::SearchConfig config, ConfigOf(call));
  FL_TRY(const CompressInputs read, ReadCompressInputs(call.in, call.data, call.seed));
  FL_TRY(const HardwareProfile profile, ProfileOf(call));
  deploy::Instruments instruments = MachineInstruments();
  if (!call.json) instruments.progress = PrintProgress;
  const deploy::PassInputs inputs{.teacher = {read.teacher.graph, read.teacher.parameters},
                                  .training = read.parts.training,
                                  .calibration = read.parts.calibration,
                                  .verification = read.parts.verification,
                                  .gate = {},
                                  .rng = RngStream(call.seed).Child("deploy"),
                                  .stop = WatchStopSignals(),
                                  .normalization = read.normalization,
                                  .labels = read.file.labels,
                                  .notes = read.file.notes,
                                  .instruments = &instruments,
                                  .profile = &profile};
  FL_TRY(const deploy::SearchOutcome outcome,
         deploy::AutoSearch(config, inputs, read.parts.choosing));
  return WriteOutcome(call, outcome);
}

}  // namespace fl::model_app
