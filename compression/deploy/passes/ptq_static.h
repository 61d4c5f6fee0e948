#pragma once

#include <cstdint>
#include <memory>

#include "fl/compression/deploy/fields.h"
#include "fl/compression/deploy/pass.h"

namespace fl::deploy {

enum class Observer : std::uint8_t {
  kMinMax,  // The least and the largest activation seen.
  kMse,     // The range in between that loses least.
};

// `ptq_static`: weights to integers, a scale for each channel, or as earlier passes decided
// (WorkingModel::precision, rounded); activations to int8 with ranges measured on local samples, or
// learned (WorkingModel::ranges).
struct PtqStaticConfig {
  std::uint32_t samples = 512;  // Calibration samples at most, >= 1.
  Observer observer = Observer::kMse;
  nn::WeightSpec weights;  // Of nodes that no earlier pass decided on.
};

class PtqStatic final : public Pass {
 public:
  explicit PtqStatic(const PtqStaticConfig& config) : config_(config) {}
  const PtqStaticConfig& config() const { return config_; }

  std::string_view name() const override { return "ptq_static"; }
  PassStage stage() const override { return PassStage::kQuantize; }
  // The errors of nn::ObserveRanges and nn::Quantize.
  Result<> Run(const PassInputs& inputs, WorkingModel& model, PassReport& report) const override;

 private:
  PtqStaticConfig config_;
};

// Keys: `samples`, `observer` ("minmax", "mse"), `weights` ("channel").
Result<std::shared_ptr<const Pass>> ReadPtqStatic(Fields& fields);

}  // namespace fl::deploy
