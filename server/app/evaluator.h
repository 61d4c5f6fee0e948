#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "fl/server/core/version_models.h"

namespace fl::server {

// What measures a plan's models on its evaluation data, which is looked for in the current folder
// and then under each of `roots`; empty where the plan names none. kNotFound lists what was tried;
// else the source's own error.
Result<Measure> MakeMeasure(std::shared_ptr<const FederationPlan> plan,
                            const std::vector<std::filesystem::path>& roots);

}  // namespace fl::server
