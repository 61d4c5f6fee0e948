#pragma once

#include <string>
#include <vector>

#include "fl/common/nn/visit_outputs.h"
#include "fl/compression/deploy/fields.h"
#include "fl/compression/deploy/round_weights.h"
#include "fl/compression/deploy/working_model.h"

namespace fl::deploy {

// Reads the settings of the passes that round weights:
//   bits         2 to 8
//   granularity  "tensor", "channel" or "group": what shares a scale
//   group        neighbouring inputs of a group (32)
//   symmetric    false: codes have a zero of their own, up to 7 bits
//   layers       other codings by node: ["conv1 8", "dense2 3 group 16 asymmetric"]; what is left
//                out is as above, but that 8 bits have no groups and no zero
//   keep_float   refused in words: the integer engine runs whole models
// Used as Fields is: the errors come with Finish, which calls that of the fields.
class WeightSettings {
 public:
  WeightSettings(Fields& fields, const nn::WeightSpec& otherwise);
  Result<WeightPlan> Finish() const;

 private:
  Result<> CheckKeepFloat() const;

  Fields& fields_;
  nn::WeightSpec spec_;
  std::vector<std::string> layers_;
  std::vector<std::string> keep_float_;
};

// `granularity`, `group` and `symmetric` alone.
void ReadScaling(Fields& fields, nn::WeightSpec& spec);
// The coding with these bits; 8 bits have no room for a multiplier or a zero, so they are by
// channel where others are by group, and symmetric.
nn::WeightSpec WithBits(nn::WeightSpec spec, std::uint8_t bits);

// The plan for what earlier passes left open, with what they decided. kInvalidArgument names a
// layer that both decide on, kNotFound one that has no weight.
Result<WeightPlan> PlanFor(const WorkingModel& model, const WeightPlan& own);

// Makes WorkingModel::rounded where no pass has: every weight at its nearest value, the codings
// written into WorkingModel::precision. The errors of PlanFor and RoundWeights.
Result<> RoundIfPlain(const WeightPlan& own, WorkingModel& model);

// RoundIfPlain, then the ranges over which the samples' activations will be rounded. The errors of
// RoundIfPlain and nn::ObserveRanges.
Result<std::vector<nn::ActivationRange>> RoundAndObserve(const WeightPlan& own,
                                                         const nn::SampleValues& samples,
                                                         WorkingModel& model);

// "4 bits in groups of 32"; where nodes differ "2 to 8 bits, 3.4 a weight".
std::string DescribeCodings(const nn::Graph& graph, std::span<const nn::WeightSpec> specs);
// Bits of a mean weight, multipliers and zeros included.
double MeanBits(const nn::Graph& graph, std::span<const nn::WeightSpec> specs);

}  // namespace fl::deploy
