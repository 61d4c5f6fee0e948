#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "fl/common/base/bytes.h"
#include "fl/common/nn/choose_range.h"
#include "fl/common/nn/graph.h"
#include "fl/common/nn/model_file.h"
#include "fl/compression/deploy/pass.h"
#include "fl/compression/deploy/pass_list.h"

// Ranges of activations that follow from the samples of a whole federation, for ptq_static with
// ranges = "federation": each device counts the values of the same model on its own samples
// (nn::Calibrate), the counts are merged, and one range for each node is published. Thread safety:
// pure functions.
namespace fl::deploy {

// What is counted and how ranges follow from it.
struct CalibrationTask {
  nn::Graph graph;            // Of ModelToCalibrate.
  std::uint32_t samples = 0;  // A device's, at most.
  nn::RangeOptions options;
};

// How many passes at the list's start follow from the model's weights alone (fold_batchnorm and
// equalize), so that they make the same of it on every device.
std::size_t LeadingRewrites(const PassList& passes);

// The model that devices calibrate: the list's first one behind its LeadingRewrites, since later
// passes see that one. The errors of FoldBatchNorms and Equalize.
Result<nn::FloatModel> ModelToCalibrate(const PassList& passes, const Teacher& teacher);

// What the list asks a federation for; nothing where no pass of it does. `teacher`: the graph of
// the list's first model.
Result<std::optional<CalibrationTask>> CalibrationTaskOf(const PassList& passes,
                                                         const nn::Graph& teacher);

// One range for each node of the task's graph as bytes:
//
//   ranges = "FLR" version:u8 nodes:varint { low:f32 high:f32 }
//
// Version 1. kMalformed (grammar, another number of nodes, a range that does not hold zero),
// kWrongVersion, kNotFinite.
Bytes EncodeRanges(std::span<const nn::ActivationRange> ranges);
Result<RangesByNode> DecodeRanges(ByteSpan bytes, const nn::Graph& graph);

}  // namespace fl::deploy
