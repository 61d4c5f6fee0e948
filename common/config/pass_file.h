#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/config/plan.h"
#include "fl/common/config/table.h"

namespace fl {

// Reads a plan's [deployment]; the passes' own keys stay as they stand.
Result<> ReadDeployment(Table table, DeploymentConfig& deployment);

// A pass list as a file of its own: [deployment] with its [[deployment.pass]], as in a plan, and
// nothing else; at least one pass. Errors as ParsePlan's.
Result<DeploymentConfig> ParsePassFile(std::string_view text, std::string_view name);
Result<DeploymentConfig> LoadPassFile(const std::string& path);

// The same as text: the gate and the passes; ParsePassFile reads the same values again, to the last
// bit. Keys that ParsePassFile would refuse are the caller's fault.
std::string PassFileToToml(const DeploymentConfig& deployment);

// Applies "KEY=VALUE" settings: KEY is drop_points_max or bytes_max, or PASS.KEY for every pass of
// that name; a value in TOML's notation, a bare word counts as a text. kInvalidArgument names the
// setting.
Result<> OverridePasses(const std::vector<std::string>& settings, DeploymentConfig& deployment);

}  // namespace fl
