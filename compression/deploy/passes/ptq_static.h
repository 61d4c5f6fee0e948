#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "fl/common/nn/choose_range.h"
#include "fl/compression/deploy/fields.h"
#include "fl/compression/deploy/pass.h"
#include "fl/compression/deploy/round_weights.h"

namespace fl::deploy {

// `ptq_static`: weights to integers as set, or as earlier passes decided (WorkingModel::precision,
// rounded); activations to int8 with ranges measured on local samples, or learned
// (WorkingModel::ranges), or those of a federation.
struct PtqStaticConfig {
  std::uint32_t samples = 512;  // Calibration samples at most, >= 1.
  nn::RangeOptions ranges;
  double moving_share = 0.01;  // Of the moving average: a batch's share, in (0, 1].
  WeightPlan weights;          // Of nodes that no earlier pass decided on.
  // Activations' ranges are those of the whole federation for the nodes that it has looked at
  // (WorkingModel::federation_ranges), and measured on local samples for all others alone.
  bool federation = false;
};

class PtqStatic final : public Pass {
 public:
  explicit PtqStatic(PtqStaticConfig config) : config_(std::move(config)) {}
  const PtqStaticConfig& config() const { return config_; }

  std::string_view name() const override { return "ptq_static"; }
  PassStage stage() const override { return PassStage::kQuantize; }
  // The errors of nn::Calibrate, PlanFor, SpecsOf and nn::Quantize.
  Result<> Run(const PassInputs& inputs, WorkingModel& model, PassReport& report) const override;

 private:
  // One range for each node; says in the report where they come from.
  Result<std::vector<nn::ActivationRange>> FindRanges(const PassInputs& inputs,
                                                      const WorkingModel& model,
                                                      PassReport& report) const;

  PtqStaticConfig config_;
};

// Keys: `samples`; `ranges` ("own" or, in a plan whose observer is not "moving_average",
// "federation"); `observer` ("minmax", "moving_average", "percentile", "mse", "kl") with
// `moving_share` and `percentile` of their observers alone; `symmetric_activations`; those of
// WeightSettings.
Result<std::shared_ptr<const Pass>> ReadPtqStatic(Fields& fields);

}  // namespace fl::deploy
