#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "fl/common/base/digest.h"
#include "fl/common/base/result.h"
#include "fl/common/config/plan.h"
#include "fl/common/nn/graph.h"
#include "fl/compression/deploy/federation_ranges.h"
#include "fl/compression/deploy/pass_list.h"
#include "fl/compression/narrowing.h"
#include "fl/compression/recipe.h"

namespace fl {

// A plan whose parts fit together, and what follows from it alone: server, clients and simulator
// derive the same from the same text. Immutable once made. Thread safety: shared objects safe.
struct CheckedPlan {
  Plan plan;
  nn::Graph graph;
  std::shared_ptr<const Narrowing> narrowing;  // What a round trains of it; null: all.
  SegmentPlan delta;                           // Stream 0: the model's tensors.
  SegmentPlan metrics;                         // Stream 1: one raw tensor "metrics" of 4 values.
  std::vector<SegmentPlan> streams;  // The plan's own [[stream]]s, in its order; ids from 2 on.
  deploy::PassList passes;           // Empty: nothing is deployed.
  // What devices calibrate together; nothing where no pass asks for it.
  std::optional<deploy::CalibrationTask> calibration;
  Digest plan_digest;    // SHA-256 of the plan's text.
  Digest recipe_digest;  // delta.digest(): its prefix stands in tasks and updates.
};

// Validates model, recipes, streams, passes and policy together: the one function that every
// program calls on a plan that ParsePlan has read. Errors are kInvalidArgument, or kUnsupported
// where this version lacks what is asked for, and begin "NAME:LINE:COLUMN: " where the fault has a
// place in the text, "NAME: " else.
Result<std::shared_ptr<const CheckedPlan>> CheckPlan(Plan plan, std::string_view name);

}  // namespace fl
