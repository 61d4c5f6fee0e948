#pragma once

#include <memory>

#include "fl/compression/deploy/fields.h"
#include "fl/compression/deploy/pass.h"

namespace fl::deploy {

// `verify`: measures what would be installed, by the engine that would run it, on samples that no
// other pass saw. The gate stands in [deployment].
class Verify final : public Pass {
 public:
  std::string_view name() const override { return "verify"; }
  PassStage stage() const override { return PassStage::kVerify; }
  // The sessions' errors.
  Result<> Run(const PassInputs& inputs, WorkingModel& model, PassReport& report) const override;
};

// No keys.
Result<std::shared_ptr<const Pass>> ReadVerify(Fields& fields);

}  // namespace fl::deploy
