#include "fl/client/app/device_shell.h"

#include <cstdio>
#include <utility>

#include "fl/client/app/activity_line.h"
#include "fl/client/deploy/installed_store.h"
#include "fl/compression/samples/plan_samples.h"

namespace fl::client {

DeviceShell::DeviceShell(ClientCore core, DeviceTools tools, std::string data_source)
    : core_(std::move(core)), tools_(tools), data_source_(std::move(data_source)) {}

Result<> DeviceShell::Run() {
  next_ = Started{};
  while (next_ && !tools_.stop.requested()) {
    const auto commands = core_.OnEvent(*std::exchange(next_, std::nullopt), tools_.clock.Now());
    for (const ClientCommand& command : commands) {
      FL_TRY_OK(std::visit([this](auto what) { return Do(std::move(what)); }, command));
    }
  }
  return {};
}

Result<> DeviceShell::Do(SaveState) {
  return tools_.folder.Save(core_.state());
}

Result<> DeviceShell::Do(const SendRequest& command) {
  auto answer = tools_.http.Exchange(command.request, command.timeout);
  next_ = ReplyArrived{std::move(answer)};
  return {};
}

Result<> DeviceShell::Do(const StartTraining& command) {
  auto data = DataFor(command.job.plan);
  next_ = data ? TrainingDone{RunTraining(command.job, **data, tools_.stop.requested())}
               : TrainingDone{data.error()};
  return {};
}

Result<> DeviceShell::Do(StartDeployment command) {
  const InstalledStore store(DeviceFolder::LocalPath(tools_.folder.path()));
  auto installed = store.Current();
  if (!installed && installed.error().code != ErrorCode::kNotFound) return installed.error();
  if (installed) command.job.installed = *std::move(installed);
  auto data = DataFor(command.job.plan);
  next_ = data ? DeploymentDone{RunDeployment(command.job, **data, tools_.stop.requested())}
               : DeploymentDone{data.error()};
  return {};
}

Result<> DeviceShell::Do(const InstallModel& command) {
  return InstalledStore(DeviceFolder::LocalPath(tools_.folder.path())).Install(command.model_file);
}

Result<> DeviceShell::Do(WaitUntil command) {
  FL_TRY_OK(AnswerDrift());
  tools_.stop.SleepFor(command.time - tools_.clock.Now());
  next_ = TimerFired{};
  return {};
}

Result<> DeviceShell::AnswerDrift() {
  const auto drift = ReadDrift(tools_.folder.path());
  if (!drift) return {};
  const auto installed = InstalledStore(DeviceFolder::LocalPath(tools_.folder.path())).Current();
  if (!installed) return {};
  const auto job =
      drift_response_.Next(*drift, *installed, core_.state(), tools_.cache, tools_.clock.Now());
  if (!job) return {};
  Result<> outcome = DeployLocally(*job, drift->score);
  if (outcome || outcome.error().code == ErrorCode::kIo) return outcome;
  // Stopped, or the data are away just now: the device goes on as it is.
  return Do(WriteLog{LogLevel::kWarning, std::nullopt,
                     "cannot answer the drift: " + outcome.error().message});
}

// On the samples as they are now, not as they were when the last task read them.
Result<> DeviceShell::DeployLocally(const DeploymentJob& job, double drift) {
  FL_TRY(std::shared_ptr<const data::Dataset> dataset, OpenSamples(data_source_, *job.plan));
  const LocalData data =
      SplitLocalData(data::Subset(std::move(dataset)), job.plan->plan, job.client);
  FL_TRY(DeploymentResult result, RunDeployment(job, data, tools_.stop.requested()));
  for (std::string& line : result.report) {
    FL_TRY_OK(Do(WriteLog{LogLevel::kInfo, std::nullopt, std::move(line)}));
  }
  if (result.installed) FL_TRY_OK(Do(InstallModel{std::move(result.model_file)}));
  char why[48];
  std::snprintf(why, sizeof(why), "drift %.2f: ", drift);
  RecordActivity record;
  record.what = result.installed ? "installed" : "not installed";
  record.detail = why + DescribeDeployment(result);
  return Do(std::move(record));
}

Result<> DeviceShell::Do(const WriteLog& command) {
  const DeviceState& state = core_.state();
  tools_.log.Write(command.level, {state.federation, command.round, state.client}, command.message);
  return {};
}

Result<> DeviceShell::Do(RecordActivity command) {
  const DeviceState& state = core_.state();
  std::string text = command.what;
  if (!command.detail.empty()) text += ": " + command.detail;
  tools_.log.Info({state.federation, command.round, state.client}, text);
  return tools_.folder.AppendActivity(
      FormatActivity(command, state.federation, tools_.clock.Now()));
}

Result<> DeviceShell::Do(Finished command) {
  next_.reset();
  return std::move(command.outcome);
}

Result<std::shared_ptr<const LocalData>> DeviceShell::DataFor(
    const std::shared_ptr<const CheckedPlan>& plan) {
  if (data_plan_ == plan) return data_;
  FL_TRY(std::shared_ptr<const data::Dataset> dataset, OpenSamples(data_source_, *plan));
  data_ = std::make_shared<const LocalData>(
      SplitLocalData(data::Subset(std::move(dataset)), plan->plan, core_.state().client));
  data_plan_ = plan;
  return data_;
}

}  // namespace fl::client
