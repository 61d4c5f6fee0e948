#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "fl/common/config/plan.h"

namespace fl::deploy::testing {

using Fields = std::vector<std::pair<std::string, PassConfig::Value>>;
using Passes = std::vector<std::pair<std::string, Fields>>;

// A pass list as it stands in a file.
inline DeploymentConfig ListOf(const Passes& passes) {
  DeploymentConfig deployment;
  std::uint32_t line = 1;
  for (const auto& [name, fields] : passes) {
    PassConfig pass{{name, {line++, 8}}, {}};
    for (const auto& [key, value] : fields) pass.fields.push_back({key, value, {line++, 1}});
    deployment.passes.push_back(pass);
  }
  return deployment;
}

}  // namespace fl::deploy::testing
