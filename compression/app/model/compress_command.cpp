#include <algorithm>
#include <atomic>
#include <filesystem>
#include <iostream>
#include <optional>

#include <CLI/CLI.hpp>

#include "fl/common/base/file.h"
#include "fl/common/config/hardware_profile.h"
#include "fl/common/config/pass_file.h"
#include "fl/compression/app/model/call.h"
#include "fl/compression/app/model/machine_instruments.h"
#include "fl/compression/app/model/pass_report.h"
#include "fl/compression/app/text_table.h"
#include "fl/compression/deploy/estimate_latency.h"
#include "fl/compression/deploy/pass_list.h"

namespace fl::model_app {
namespace {

Result<deploy::PassList> ReadPasses(const Call& call, const nn::Graph& graph,
                                    DeploymentConfig& deployment) {
  FL_TRY(deployment, LoadPassFile(call.passes));
  FL_TRY_OK(OverridePasses(call.settings, deployment));
  auto passes = deploy::ParsePassList(deployment, graph, deploy::PassListUse::kFile);
  if (!passes)  // "LINE:COLUMN: ..." follows the file's name.
    return Error{passes.error().code, call.passes + ":" + passes.error().message};
  const bool verifies = std::ranges::any_of(*passes, [](const deploy::PassEntry& entry) {
    return entry.pass->stage() == deploy::PassStage::kVerify;
  });
  if (!verifies && !call.unverified) {
    return Error{ErrorCode::kInvalidArgument,
                 call.passes +
                     ": expected a verify pass, since nothing is written that was not "
                     "measured; --unverified writes it all the same"};
  }
  return passes;
}

// Better now than after the work.
Result<> CheckFolder(const std::string& out) {
  const std::filesystem::path folder = std::filesystem::path(out).parent_path();
  std::error_code ignored;
  if (folder.empty() || std::filesystem::is_directory(folder, ignored)) return {};
  return Error{ErrorCode::kNotFound,
               out + ": expected the folder " + folder.string() + " to exist"};
}

void PrintProgress(std::string_view line) {
  std::cerr << line << '\n';
}

// What the model would take on the device of --profile; nothing without one, or without a model.
Result<std::optional<double>> PredictMicroseconds(const Call& call,
                                                  const deploy::DeployReport& report) {
  if (call.profile.empty() || report.model.empty()) return std::optional<double>();
  FL_TRY(const HardwareProfile profile, LoadProfile(call.profile));
  FL_TRY(const nn::ModelFile file, nn::ParseModelFile(report.model));
  const bool integers = std::holds_alternative<nn::QuantizedModel>(file.model);
  FL_TRY(const double predicted, deploy::EstimateLatency(profile, file.graph(), integers));
  return std::optional(predicted);
}

Result<> WriteOutcome(const Call& call, const deploy::DeployReport& report) {
  FL_TRY(const std::optional<double> predicted, PredictMicroseconds(call, report));
  std::cout << (call.json ? ReportToJson(report, predicted) : DrawReport(report)) << std::flush;
  if (predicted && !call.json) {
    std::cout << "\non the device of " << call.profile << ": "
              << codec_app::FormatFixed(*predicted, 1) << " us by its latency table\n";
  }
  const bool wanted = report.accepted || (call.unverified && !report.verified);
  if (!wanted || report.model.empty()) {
    return Error{ErrorCode::kLimitExceeded, call.out + " was not written: " + report.reason};
  }
  FL_TRY_OK(WriteFileAtomically(call.out, report.model));
  if (!call.json) {
    std::cout << "\n"
              << call.out << ": " << codec_app::FormatCount(report.model.size()) << " bytes\n";
  }
  return {};
}

Result<> CheckCall(const Call& call) {
  FL_TRY_OK(CheckFolder(call.out));
  if (call.automatic != call.passes.empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 "compress: expected either --passes or --auto, found " +
                     std::string(call.automatic ? "both" : "neither")};
  }
  const bool searches = !call.max_bytes.empty() || !call.max_latency.empty() || call.random > 0;
  if (searches && !call.automatic) {
    return Error{ErrorCode::kInvalidArgument,
                 "compress: --max-bytes, --max-latency and --compare-random need --auto"};
  }
  if (call.automatic && (!call.settings.empty() || call.unverified)) {
    return Error{ErrorCode::kInvalidArgument, "compress: --set and --unverified need --passes"};
  }
  return {};
}

Result<> Compress(const Call& call) {
  FL_TRY_OK(CheckCall(call));
  if (call.automatic) return CompressAutomatically(call);
  std::optional<HardwareProfile> profile;
  if (!call.profile.empty()) {
    FL_TRY(profile, LoadProfile(call.profile));
  }
  FL_TRY(const CompressInputs read, ReadCompressInputs(call.in, call.data, call.seed));
  const nn::FloatModel& teacher = read.teacher;
  DeploymentConfig deployment;
  FL_TRY(const deploy::PassList passes, ReadPasses(call, teacher.graph, deployment));
  deploy::Instruments instruments = MachineInstruments();
  if (!call.json) instruments.progress = PrintProgress;
  const std::atomic<bool> stop = false;
  const deploy::PassInputs inputs{.teacher = {teacher.graph, teacher.parameters},
                                  .training = read.parts.training,
                                  .calibration = read.parts.calibration,
                                  .verification = read.parts.verification,
                                  .gate = {deployment.drop_points_max, deployment.bytes_max},
                                  .rng = RngStream(call.seed).Child("deploy"),
                                  .stop = stop,
                                  .normalization = read.normalization,
                                  .labels = read.file.labels,
                                  .notes = read.file.notes,
                                  .instruments = &instruments,
                                  .profile = profile ? &*profile : nullptr};
  FL_TRY(const deploy::DeployReport report, deploy::RunPasses(passes, inputs));
  return WriteOutcome(call, report);
}

}  // namespace

void AddCompress(CLI::App& app, Call& call, Action& action) {
  CLI::App& command = *app.add_subcommand(
      "compress",
      "A smaller model by a pass list, or by a search; written only when it was verified");
  command.add_option("FILE", call.in, "The fp32 model file")->required();
  command.add_option("--passes", call.passes, "The pass list, such as configs/passes/int8.toml");
  command.add_flag("--auto", call.automatic,
                   "Search for the pass list of the best model within the bounds; OUT's name "
                   "with .passes.toml, .search.json and .search.svg is written, too");
  command
      .add_option("--max-drop", call.max_drop, "--auto: points of accuracy below the model's own")
      ->capture_default_str();
  command.add_option("--max-bytes", call.max_bytes, "--auto: of the model file, such as 200KB");
  command.add_option("--max-latency", call.max_latency,
                     "--auto: of one sample on the device, such as 100us");
  command
      .add_option(
          "--prefer", call.prefer,
          "--auto: which model within the bounds: balance (the most gained over all of "
          "them together), bytes, latency, accuracy or dominance (over what is drawn at random)")
      ->capture_default_str();
  command.add_option("--seconds", call.seconds, "--auto: that the search may take")
      ->capture_default_str();
  command.add_option("--compare-random", call.random,
                     "--auto: also so many random lists, trained as long as the chosen one");
  AddData(command, call);
  command.add_option("--unseen", call.data.unseen,
                     "A second source that the model was not trained on: half of it verifies, "
                     "--auto chooses by the other half; none: a fifth of --data verifies");
  command.add_option("--out", call.out, "The model file to write")->required();
  command.add_option("--profile", call.profile,
                     "A device profile (fl-model probe): passes obey it, and it predicts the "
                     "latency there");
  command
      .add_option("--set", call.settings,
                  "PASS.KEY=VALUE for the passes of that name; drop_points_max=, bytes_max=")
      ->allow_extra_args(false);
  command.add_option("--seed", call.seed, "Of the data's parts and of training")
      ->capture_default_str();
  command.add_flag("--unverified", call.unverified, "Write what a list without verify makes");
  command.add_flag("--json", call.json, "Print the report as JSON");
  command.callback([&] { action = Compress; });
}

}  // namespace fl::model_app
