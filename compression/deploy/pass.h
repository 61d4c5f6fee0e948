#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/config/hardware_profile.h"
#include "fl/common/data/subset.h"
#include "fl/common/nn/graph.h"
#include "fl/common/random/rng_stream.h"
#include "fl/compression/deploy/gate.h"
#include "fl/compression/deploy/measure_model.h"
#include "fl/compression/deploy/working_model.h"

namespace fl::deploy {

// The legal order of passes (see pass_order.h).
enum class PassStage : std::uint8_t {
  kFold,            // Batch norms into the weights before them.
  kEqualize,        // Scales moved between layers, the function as it was.
  kPrune,           // Channels, blocks or single weights removed.
  kLowRank,         // Weights made of smaller ones.
  kTrain,           // Weights changed by training.
  kMixedPrecision,  // Bits decided node by node.
  kRound,           // Weights put on their grids: WorkingModel::rounded.
  kCorrectBias,     // Biases fitted to the rounded weights.
  kQuantize,        // What is deployed: WorkingModel::quantized, or 16 bits.
  kVerify,          // Measured on samples that no other pass saw.
  kPack,            // How the file is written.
};

// The global model, as it came.
struct Teacher {
  const nn::Graph& graph;
  std::span<const float> parameters;
  // What it says about PassInputs::training, in its order (TeacherLogits), where that was asked
  // before; else empty.
  std::span<const float> logits = {};
};

// What the passes work with. The three subsets are disjoint; all are references that outlive the
// call.
struct PassInputs {
  Teacher teacher;
  const data::Subset& training;      // For what trains; calibration is filled up with it.
  const data::Subset& calibration;   // For what looks at activations; may be empty.
  const data::Subset& verification;  // For verify and the report alone.
  Gate gate;
  RngStream rng;  // In Pass::Run: the pass's own.
  const std::atomic<bool>& stop;
  std::string normalization;  // For the model file: nn::ModelFile's fields of these names.
  std::vector<std::string> labels;
  std::map<std::string, std::string> notes;
  const Instruments* instruments = nullptr;  // Null: no rows in the report.
  // Of the device that the model is for; passes obey its channel multiple and its types. Null: any.
  const HardwareProfile* profile = nullptr;
  // Ranges that a federation's devices found together for ModelToCalibrate (federation_ranges.h).
  // Null: there are none.
  const RangesByNode* federation_ranges = nullptr;
};

// The model's file as it would be written now.
Bytes SerializeWorkingModel(const WorkingModel& model, const PassInputs& inputs);

// A number that a pass reports beside its summary, for machines.
struct Figure {
  std::string name;  // "steps", "loss_first", ...
  double value = 0;
};

// What a pass has to say.
struct PassReport {
  std::string summary;  // One line for people, without the pass's name.
  std::vector<Figure> figures;
  std::string refusal;               // Why the run ends here, the model refused; empty: it goes on.
  std::optional<Measured> measured;  // By verify.
};

// One step of a pass list: a technique with its settings, checked when it was read. To add one:
// passes/NAME.{h,cpp} with the class and its Read function, and a line in pass_table.cpp. Errors of
// Run begin with the pass's name. Same inputs, same bits on one machine and build. Thread safety:
// immutable, shared objects safe.
class Pass {
 public:
  virtual ~Pass() = default;

  virtual std::string_view name() const = 0;  // As in the pass list.
  virtual PassStage stage() const = 0;
  // Whether it puts a new model in the place of the one that it is given.
  virtual bool replaces_model() const { return false; }

  // Changes the model. An error ends the run; on one the model is of no more use.
  virtual Result<> Run(const PassInputs& inputs, WorkingModel& model, PassReport& report) const = 0;
};

}  // namespace fl::deploy
