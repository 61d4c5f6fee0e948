#pragma once

#include <atomic>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"
#include "fl/common/data/subset.h"
#include "fl/common/random/rng_stream.h"
#include "fl/compression/deploy/distil.h"
#include "fl/compression/deploy/pass_list.h"
#include "fl/compression/deploy/verify.h"

namespace fl::deploy {

// What the passes work with. The three subsets are disjoint; all are references that outlive the
// call.
struct PassInputs {
  Teacher teacher;
  const data::Subset& training;      // For distil; ptq_static fills up its calibration with it.
  const data::Subset& calibration;   // For ptq_static; may be empty.
  const data::Subset& verification;  // For verify alone.
  Gate gate;
  RngStream rng;
  const std::atomic<bool>& stop;
  std::string normalization;  // For the model file: nn::ModelFile's fields of these names.
  std::vector<std::string> labels;
  std::map<std::string, std::string> notes;
};

struct DeployReport {
  Bytes model;  // The model file, also of a refused one; empty when there is none.
  Measured measured;
  bool accepted = false;           // By the gate.
  std::string reason;              // Why not.
  std::vector<std::string> lines;  // One for each pass that ran.
};

// Runs the pass list: teacher -> student -> int8 -> verified model file. A model that the gate
// refuses is a report, not an error. Errors: kInvalidArgument (no passes, no samples),
// kShapeMismatch (samples are not the teacher's), kNotFinite (a teacher or an activation that is
// not), kUnavailable (`stop`). Same inputs, same bits on one machine and build. Thread safety: pure
// function.
Result<DeployReport> RunPasses(const PassList& passes, const PassInputs& inputs);

}  // namespace fl::deploy
