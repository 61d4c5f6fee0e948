#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "fl/compression/deploy/fields.h"
#include "fl/compression/deploy/low_rank.h"
#include "fl/compression/deploy/pass.h"

namespace fl::deploy {

// `low_rank`: dense layers and convolutions become chains of thinner ones (FactorizeLayers). A
// training pass after it wins back what was lost; with start = "random" it trains the factors from
// nothing ("train factorized").
class LowRankPass final : public Pass {
 public:
  LowRankPass(LowRankConfig config, std::uint32_t samples)
      : config_(std::move(config)), samples_(samples) {}
  const LowRankConfig& config() const { return config_; }

  std::string_view name() const override { return "low_rank"; }
  PassStage stage() const override { return PassStage::kLowRank; }
  // FactorizeLayers' errors.
  Result<> Run(const PassInputs& inputs, WorkingModel& model, PassReport& report) const override;

 private:
  LowRankConfig config_;
  std::uint32_t samples_;
};

// Keys: `method` ("svd", "spatial_svd", "tucker", "cp"), `layers`, `rank` (a number, "energy:0.9",
// "vbmf" or "budget"), `budget` and `measure` ("parameters", "macs", "error") of rank = "budget",
// `weighted`, `start` ("decomposition", "random"), `samples` (calibration samples at most).
Result<std::shared_ptr<const Pass>> ReadLowRank(Fields& fields);

}  // namespace fl::deploy
