#pragma once

#include "fl/common/base/result.h"
#include "fl/common/config/hardware_profile.h"
#include "fl/compression/deploy/measure_model.h"

namespace fl::model_app {

// Measures this machine on one thread in a few seconds: the two rates from the fastest of the
// table's operators, memory by reading 128 MB. instruments.nanoseconds is needed, .runs is how
// often each operator runs. Other jobs on the machine make it slower than it is.
Result<HardwareProfile> ProbeMachine(const deploy::Instruments& instruments);

}  // namespace fl::model_app
