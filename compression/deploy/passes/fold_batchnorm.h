#pragma once

#include <memory>

#include "fl/compression/deploy/fields.h"
#include "fl/compression/deploy/pass.h"

namespace fl::deploy {

// `fold_batchnorm`: puts batch norms into the products before them (FoldBatchNorms).
class FoldBatchNormPass final : public Pass {
 public:
  std::string_view name() const override { return "fold_batchnorm"; }
  PassStage stage() const override { return PassStage::kFold; }
  // FoldBatchNorms' errors.
  Result<> Run(const PassInputs& inputs, WorkingModel& model, PassReport& report) const override;
};

// `equalize`: shares out ranges between neighbouring layers (Equalize).
class EqualizePass final : public Pass {
 public:
  std::string_view name() const override { return "equalize"; }
  PassStage stage() const override { return PassStage::kEqualize; }
  // Equalize's errors.
  Result<> Run(const PassInputs& inputs, WorkingModel& model, PassReport& report) const override;
};

// No keys.
Result<std::shared_ptr<const Pass>> ReadFoldBatchNorm(Fields& fields);
Result<std::shared_ptr<const Pass>> ReadEqualize(Fields& fields);

}  // namespace fl::deploy
