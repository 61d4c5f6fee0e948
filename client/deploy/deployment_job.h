#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fl/client/train/local_data.h"
#include "fl/common/base/result.h"
#include "fl/common/tensor/tensor.h"
#include "fl/common/wire/messages.h"
#include "fl/compression/check_plan.h"

namespace fl::client {

// What a deploy task needs besides the data, as a value. The shell fills in `installed`.
struct DeploymentJob {
  wire::Task task;
  std::string client;
  std::shared_ptr<const CheckedPlan> plan;
  std::shared_ptr<const NamedTensors> model;  // The teacher.
  Bytes installed;  // The installed model file; empty where there is none.
  // What the federation's devices found together; nothing where they did not.
  std::optional<deploy::RangesByNode> ranges = {};
};

// What became of the pass list on this device.
struct DeploymentResult {
  Bytes update;      // The report as wire::EncodeUpdate's bytes, ready to be sent.
  Bytes model_file;  // To install; empty when the gate refused it.
  bool installed = false;
  std::string reason;  // Why not.
  std::uint64_t model_bytes = 0;
  double teacher_accuracy = 0;      // On the verification samples, in [0, 1].
  double local_accuracy = 0;        // The same, by the integer engine.
  std::vector<std::string> report;  // A line for each pass, for the log.
};

// "41,216 bytes, accuracy 93.1 % (teacher 94.0 %)", and the reason where it was not installed.
std::string DescribeDeployment(const DeploymentResult& result);

// Runs the plan's pass list on the device's data; the result is to be installed when the gate
// accepts it and it is not worse than `installed` on the same samples. Same job and data, same
// bits. A pass list that fails is a
// result too. kShapeMismatch, kUnavailable (`stop`).
Result<DeploymentResult> RunDeployment(const DeploymentJob& job, const LocalData& data,
                                       const std::atomic<bool>& stop);

}  // namespace fl::client
