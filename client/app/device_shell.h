#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "fl/client/app/stop_signal.h"
#include "fl/client/core/client_core.h"
#include "fl/client/serve/drift_response.h"
#include "fl/client/state/device_folder.h"
#include "fl/common/base/clock.h"
#include "fl/common/base/log.h"
#include "fl/common/net/http.h"

namespace fl::client {

// What the shell does the core's commands with; all outlive it.
struct DeviceTools {
  const DeviceFolder& folder;
  net::HttpClient& http;
  ContentCache& cache;
  Clock& clock;
  const Logger& log;
  StopSignal& stop;
};

// Drives one ClientCore with a real connection, clock and folder, on the thread that calls Run. The
// data source is opened when the first task needs it. Thread safety: distinct objects safe.
class DeviceShell {
 public:
  DeviceShell(ClientCore core, DeviceTools tools, std::string data_source);

  // Until the core is finished or a stop is requested, which is no error. Else the core's error, or
  // that of the state folder: without a durable state nothing goes on.
  Result<> Run();

 private:
  Result<> Do(SaveState command);
  Result<> Do(const SendRequest& command);
  Result<> Do(const StartTraining& command);
  Result<> Do(StartDeployment command);
  Result<> Do(const InstallModel& command);
  Result<> Do(WaitUntil command);
  Result<> Do(const WriteLog& command);
  Result<> Do(RecordActivity command);
  Result<> Do(Finished command);

  // Runs the pass list anew where what is served has drifted.
  Result<> AnswerDrift();
  Result<> DeployLocally(const DeploymentJob& job, double drift);

  Result<std::shared_ptr<const LocalData>> DataFor(const std::shared_ptr<const CheckedPlan>& plan);

  ClientCore core_;
  DeviceTools tools_;
  std::string data_source_;
  std::shared_ptr<const CheckedPlan> data_plan_;  // Whose data_ is; shared with the core.
  std::shared_ptr<const LocalData> data_;
  std::optional<ClientEvent> next_;
  DriftResponse drift_response_;
};

}  // namespace fl::client
