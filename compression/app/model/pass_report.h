#pragma once

#include <optional>
#include <string>

#include "fl/compression/deploy/run_passes.h"

namespace fl::model_app {

// The report of a pass list as one table for people: what each pass left behind, then the noise of
// each layer where the model was quantized.
std::string DrawReport(const deploy::DeployReport& report);

// The same for machines, in stable names; with a device profile the latency that it predicts.
std::string ReportToJson(const deploy::DeployReport& report,
                         std::optional<double> predicted_us = {});

}  // namespace fl::model_app
