#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "fl/common/base/clock.h"
#include "fl/compression/check_plan.h"
#include "fl/simulations/federation/federation_data.h"
#include "fl/simulations/federation/simulation.h"
#include "fl/tests/support/result.h"

namespace fl::testing {

inline std::shared_ptr<const CheckedPlan> CheckedPlanOf(const std::string& text) {
  return Get(CheckPlan(Get(ParsePlan(text, "plan.toml")), "plan.toml"));
}

// Plays the plan on two threads with data under `root` and gives back its report; `on_round` sees
// each published version.
inline server::Report Play(
    const std::shared_ptr<const CheckedPlan>& plan, const std::string& root,
    const std::function<void(sim::Simulation&)>& on_round = [](sim::Simulation&) {}) {
  SystemClock clock;
  const std::atomic<bool> stop{false};
  const Logger log(LogLevel::kOff);
  const auto simulation =
      Get(sim::Simulation::Create(plan, Get(sim::LoadFederationData(*plan, {root})),
                                  {.threads = 2, .record = {}}, {clock, stop, log}));
  Get(simulation->Run([&](const sim::RoundSeen&) { on_round(*simulation); }));
  return Get(simulation->Report());
}

}  // namespace fl::testing
