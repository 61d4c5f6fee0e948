#pragma once

#include <string>
#include <vector>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"
#include "fl/compression/deploy/pass.h"
#include "fl/compression/deploy/pass_list.h"

namespace fl::deploy {

struct DeployReport {
  Bytes model;  // The model file, also of a refused one; empty when a pass ended the run.
  Measured measured;
  bool accepted = false;           // By the gate; never without verify.
  std::string reason;              // Why not.
  std::vector<std::string> lines;  // "NAME: summary", one for each pass that ran.
};

// Runs the pass list: teacher -> student -> int8 -> verified model file. A model that the gate
// refuses is a report, not an error. Errors: kInvalidArgument (no passes, no samples),
// kShapeMismatch (samples are not the teacher's), kNotFinite (a teacher or an activation that is
// not), kUnavailable (`stop`), and the passes' own. Same inputs, same bits on one machine and
// build. Thread safety: pure function.
Result<DeployReport> RunPasses(const PassList& passes, const PassInputs& inputs);

}  // namespace fl::deploy
