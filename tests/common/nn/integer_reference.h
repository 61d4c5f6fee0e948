#pragma once

#include <span>
#include <vector>

#include "fl/common/nn/quantized_model.h"

namespace fl::nn::testing {

// The output for one sample by the contract of quantized_model.h: plain loops that share nothing
// with the engine but the tables of functions.
std::vector<float> RunIntegerReference(const QuantizedModel& model, std::span<const float> input);
// What each node yields.
std::vector<std::vector<float>> RunReferenceNodes(const QuantizedModel& model,
                                                  std::span<const float> input);

}  // namespace fl::nn::testing
