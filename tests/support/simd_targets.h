#pragma once

#include <functional>
#include <string>

#include <doctest/doctest.h>
#include <hwy/highway.h>

namespace fl::testing {

// Runs `check` once for each instruction set that this machine has and the kernels were compiled
// for; a failure names it.
inline void ForEachTarget(const std::function<void()>& check) {
  const auto targets = hwy::SupportedAndGeneratedTargets();
  REQUIRE(!targets.empty());
  for (const auto target : targets) {
    const std::string name = hwy::TargetName(target);
    CAPTURE(name);
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    check();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace fl::testing
