#pragma once

#include <memory>
#include <optional>

#include "fl/compression/deploy/fields.h"
#include "fl/compression/deploy/pass.h"

namespace fl::deploy {

// `verify`: measures what would be installed, by the engine that would run it, on samples that no
// other pass saw. The gate stands in [deployment].
struct VerifyConfig {
  // The model is refused when an output of the integer engine as it serves and of its simulation,
  // as qat trains with it (fake_quantize.h), differ by more units of the last node's scale: 0 wants
  // the same bits; none: not compared.
  std::optional<double> lsb_max;
};

class Verify final : public Pass {
 public:
  explicit Verify(const VerifyConfig& config = {}) : config_(config) {}

  std::string_view name() const override { return "verify"; }
  PassStage stage() const override { return PassStage::kVerify; }
  // The sessions' errors.
  Result<> Run(const PassInputs& inputs, WorkingModel& model, PassReport& report) const override;

 private:
  VerifyConfig config_;
};

// Keys: `lsb_max` (not compared).
Result<std::shared_ptr<const Pass>> ReadVerify(Fields& fields);

}  // namespace fl::deploy
