#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "fl/compression/deploy/fields.h"
#include "fl/compression/deploy/pass.h"

namespace fl::deploy {

enum class BitsBy : std::uint8_t {
  kHessian,   // SensitivityByHessian.
  kFisher,    // SensitivityByFisher.
  kLogits,    // SensitivityByLogits.
  kHardware,  // SensitivityByLogits, under the microseconds of a device profile.
  kSearch,    // SearchAllocation from the allocation by logits.
};

struct MixedPrecisionConfig {
  BitsBy by = BitsBy::kLogits;
  std::vector<nn::WeightSpec> codings;  // A layer has one of them; bits ascend.
  // The budget: one of them is above 0; in a pass list 4 mean bits where none is named.
  std::uint64_t bytes_max = 0;      // Of the model file.
  double us_max = 0;                // Of one sample on the profile's device.
  double mean_bits = 0;             // The bytes that the weights take at this many bits, uniformly.
  std::uint32_t samples = 512;      // Calibration samples at most, >= 1.
  std::uint32_t probes = 50;        // Random vectors of the Hessian's trace, >= 1.
  std::uint32_t evaluations = 200;  // Of the search, >= 1.
};

// `mixed_precision`: bits for each layer, so that the least is lost under a budget: what each layer
// loses by each coding (see sensitivity.h), then the exact allocation (Allocate) or a search. Where
// the result moves the outputs on the calibration samples more than the most uniform bits that the
// budget allows, these are taken. Writes WorkingModel::precision of every node with a weight.
//
// Microseconds of a layer with codes of b bits: its int8 time on the device, of which the share
// that reading its weights takes shrinks with their bytes where the profile's types name "intb":
// such a device computes on packed codes. Others (this engine too) expand them when they load the
// model, so that fewer bits take no less time there.
class MixedPrecision final : public Pass {
 public:
  explicit MixedPrecision(MixedPrecisionConfig config) : config_(std::move(config)) {}
  const MixedPrecisionConfig& config() const { return config_; }

  std::string_view name() const override { return "mixed_precision"; }
  PassStage stage() const override { return PassStage::kMixedPrecision; }
  // kInvalidArgument: a budget that cannot be reached (says what the least is), no profile where
  // one is needed, samples that cannot be meant; kNotFinite; kUnavailable (stop).
  Result<> Run(const PassInputs& inputs, WorkingModel& model, PassReport& report) const override;

 private:
  MixedPrecisionConfig config_;
};

// Keys: `by` ("hessian", "fisher", "kl", "hardware", "search"), `widths` (["2", "3", "4", "8"]),
// `granularity`, `group`, `symmetric` (of the widths below 8), one of `max_bytes`, `max_us`,
// `mean_bits`; `samples`, `probes`, `evaluations`.
Result<std::shared_ptr<const Pass>> ReadMixedPrecision(Fields& fields);

}  // namespace fl::deploy
