#pragma once

#include <string>

#include "fl/server/report/report.h"

namespace fl::sim {

// What a run came to, in a few lines for a person; `folder` is where the files lie.
std::string FormatSummary(const server::Report& report, const std::string& folder);

}  // namespace fl::sim
