#pragma once

#include <cstdint>
#include <string>

#include "fl/client/train/local_data.h"
#include "fl/common/base/result.h"
#include "fl/common/tensor/tensor.h"
#include "fl/common/wire/update.h"
#include "fl/compression/check_plan.h"

namespace fl::client {

// How the received model's values are spread over a device's samples, for the federation to merge.
struct CalibratedSamples {
  wire::UpdateStream stream;  // wire::kStreamCalibration: a histogram for each node.
  std::uint64_t samples = 0;  // 0: there is nothing to send, and the stream is empty.
  std::string detail;         // For the device's owner: what was counted, or why nothing was.
};

// Counts what each node of deploy::ModelToCalibrate yields on calibration samples, filled up with
// training samples. A device whose samples tell nothing (none, all alike, a model that is not
// finite on them) has nothing to send, which is no error. The plan has a calibration. Same inputs,
// same bits on one machine and build. Errors of nn::Materialize and deploy::ModelToCalibrate.
Result<CalibratedSamples> CalibrateSamples(const CheckedPlan& plan, const NamedTensors& model,
                                           const LocalData& data);

}  // namespace fl::client
