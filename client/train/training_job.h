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
#include "fl/compression/codec.h"

namespace fl::client {

// What a train, an evaluate or a calibrate task needs besides the data, as a value: any thread,
// process or rank can run it. What is shared is immutable and shared with the device's state.
struct TrainingJob {
  wire::Task task;
  std::string client;  // Names the random streams.
  std::shared_ptr<const CheckedPlan> plan;
  std::shared_ptr<const NamedTensors> model;     // The received one.
  std::shared_ptr<const NamedTensors> residual;  // Null: zero.
  std::shared_ptr<const NamedTensors> velocity;  // Null: zero.
  std::shared_ptr<const RoundParameters> round_parameters;
  std::optional<rate::TimeLeft> time;  // For the upload, where the plan's budget has a deadline.
};

// The metrics stream, in this order; -1 where there is nothing to measure.
struct TrainingMetrics {
  float loss_before = -1;  // Of the received model on the hold-out samples.
  float accuracy_before = -1;
  float loss_after = -1;  // Mean training loss of the last epoch.
  float holdout_examples = 0;
};

// "loss 0.31, accuracy 91.2 % on 120 hold-out samples; training loss 0.22".
std::string DescribeMetrics(const TrainingMetrics& metrics);

struct TrainingResult {
  Bytes update;  // wire::EncodeUpdate's bytes, ready to be sent.
  std::shared_ptr<const NamedTensors>
      residual;  // The new one, once the server has acknowledged; null: zero.
  std::shared_ptr<const NamedTensors> velocity;  // As it was added; null: the plan has no momentum.
  std::uint64_t examples = 0;
  double delta_norm = 0;  // L2, of what training alone changed; 0 where no residual is kept.
  TrainingMetrics metrics;
  std::vector<std::string> settings;  // What `auto` did: the budget, then EncodedDelta's settings.
  std::string calibrated;             // CalibratedSamples::detail.
};

// "; left out 4.21 times the change, with a residual of 3 rounds ago", for the activity log;
// nothing where no residual is kept. `age`: rounds since the residual changed that the job began
// with; 0: there was none.
std::string DescribeLeftOut(const TrainingResult& result, std::uint64_t age);

// Steps 3 to 5: train, accelerate, compensate, clip, encode. Same job and data, same bits on one
// machine and build. Errors: kShapeMismatch (the data are not what the plan's model takes),
// kInvalidArgument (no training samples), kNotFinite (training diverged), kUnavailable (`stop` was
// set), and SegmentPlan::ReadBudgetState's. Pure: touches nothing but its arguments.
Result<TrainingResult> RunTraining(const TrainingJob& job, const LocalData& data,
                                   const std::atomic<bool>& stop);

}  // namespace fl::client
