#pragma once

#include <string>
#include <vector>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"
#include "fl/compression/deploy/layer_noise.h"
#include "fl/compression/deploy/measure_model.h"
#include "fl/compression/deploy/pass.h"
#include "fl/compression/deploy/pass_list.h"

namespace fl::deploy {

// The model as it came, or after a pass. Times are measured, hence not the same from run to run;
// nothing that is hashed holds them.
struct ReportRow {
  std::string pass;  // "teacher" first.
  std::string summary;
  std::vector<Figure> figures;
  double accuracy = 0;  // On the verification samples, by the engine that would run the model.
  ModelCost cost;
  std::uint64_t file_bytes = 0;
  std::optional<Latency> latency;
  double seconds = 0;             // That the pass took; 0 without a clock.
  std::vector<LayerNoise> noise;  // Once there is an integer model.
};

struct DeployReport {
  Bytes model;  // The model file, also of a refused one; empty when a pass ended the run.
  Measured measured;
  bool verified = false;           // A pass has measured it.
  bool accepted = false;           // By the gate; never without verify.
  std::string reason;              // Why not.
  std::vector<std::string> lines;  // "NAME: summary", one for each pass that ran.
  std::vector<ReportRow> rows;     // With instruments: one more than lines.
};

// Runs the pass list: teacher -> student -> int8 -> verified model file. A model that the gate
// refuses is a report, not an error. Errors: kInvalidArgument (no passes, no samples),
// kShapeMismatch (samples are not the teacher's), kNotFinite (a teacher or an activation that is
// not), kUnavailable (`stop`), and the passes' own. Same inputs, same bits on one machine and
// build. Thread safety: pure function.
Result<DeployReport> RunPasses(const PassList& passes, const PassInputs& inputs);

// Runs pass `i` of the list alone, with the random numbers that RunPasses gives it there, so that
// one pass after the other makes the same bits.
Result<PassReport> RunPassAt(const PassList& passes, std::size_t i, const PassInputs& inputs,
                             WorkingModel& model);
// The file that RunPasses makes of the model behind the list's last pass.
Bytes FileBehind(const PassList& passes, const PassInputs& inputs, const WorkingModel& model);

}  // namespace fl::deploy
