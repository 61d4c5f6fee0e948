#include <algorithm>
#include <atomic>
#include <filesystem>
#include <iostream>
#include <optional>

#include <CLI/CLI.hpp>

#include "fl/common/base/file.h"
#include "fl/common/config/hardware_profile.h"
#include "fl/common/config/pass_file.h"
#include "fl/common/nn/materialize.h"
#include "fl/compression/app/model/call.h"
#include "fl/compression/app/model/machine_instruments.h"
#include "fl/compression/app/model/pass_report.h"
#include "fl/compression/app/text_table.h"
#include "fl/compression/deploy/estimate_latency.h"
#include "fl/compression/deploy/pass_list.h"

namespace fl::model_app {
namespace {

// The fp32 model of a file, its weights whole and free to change.
Result<nn::FloatModel> TeacherOf(const nn::ModelFile& file, const std::string& path) {
  const auto* floats = std::get_if<nn::FloatModel>(&file.model);
  if (floats == nullptr) {
    return Error{ErrorCode::kUnsupported,
                 path + ": expected an fp32 model, found one that is quantized already"};
  }
  FL_TRY(nn::FloatModel teacher, nn::Materialize(floats->graph, floats->parameters));
  teacher.graph.frozen.clear();
  return teacher;
}

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

Result<> Compress(const Call& call) {
  FL_TRY_OK(CheckFolder(call.out));
  std::optional<HardwareProfile> profile;
  if (!call.profile.empty()) {
    FL_TRY(profile, LoadProfile(call.profile));
  }
  FL_TRY(const nn::ModelFile file, ReadModel(call.in));
  FL_TRY(const nn::FloatModel teacher, TeacherOf(file, call.in));
  DeploymentConfig deployment;
  FL_TRY(const deploy::PassList passes, ReadPasses(call, teacher.graph, deployment));
  FL_TRY(const auto dataset, OpenData(file, call.data));
  const DataParts parts = SplitForPasses(dataset, call.seed);
  deploy::Instruments instruments = MachineInstruments();
  if (!call.json) instruments.progress = PrintProgress;
  const std::atomic<bool> stop = false;
  const deploy::PassInputs inputs{.teacher = {teacher.graph, teacher.parameters},
                                  .training = parts.training,
                                  .calibration = parts.calibration,
                                  .verification = parts.verification,
                                  .gate = {deployment.drop_points_max, deployment.bytes_max},
                                  .rng = RngStream(call.seed).Child("deploy"),
                                  .stop = stop,
                                  .normalization = dataset->normalization().ToText(),
                                  .labels = file.labels,
                                  .notes = file.notes,
                                  .instruments = &instruments,
                                  .profile = profile ? &*profile : nullptr};
  FL_TRY(const deploy::DeployReport report, deploy::RunPasses(passes, inputs));
  return WriteOutcome(call, report);
}

}  // namespace

void AddCompress(CLI::App& app, Call& call, Action& action) {
  CLI::App& command = *app.add_subcommand(
      "compress", "A smaller model by a pass list; written only when it was verified");
  command.add_option("FILE", call.in, "The fp32 model file")->required();
  command.add_option("--passes", call.passes, "The pass list, such as configs/passes/int8.toml")
      ->required();
  AddData(command, call);
  command.add_option("--out", call.out, "The model file to write")->required();
  command.add_option(
      "--profile", call.profile,
      "A device profile (fl-model probe): passes obey it, and it predicts the latency there");
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
