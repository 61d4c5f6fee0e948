#pragma once

#include <memory>

#include "fl/compression/deploy/fields.h"
#include "fl/compression/deploy/pass.h"

namespace fl::deploy {

// `half_weights`: all parameters in 16 bits, half the file. fp16 has 11 bits of precision and
// reaches to 65504 (what lies beyond becomes that); bf16 has 8 and reaches as far as fp32. They are
// computed with in fp32, so that nothing gets faster.
class HalfWeights final : public Pass {
 public:
  explicit HalfWeights(nn::FloatStorage storage) : storage_(storage) {}
  nn::FloatStorage storage() const { return storage_; }

  std::string_view name() const override { return "half_weights"; }
  PassStage stage() const override { return PassStage::kQuantize; }
  Result<> Run(const PassInputs& inputs, WorkingModel& model, PassReport& report) const override;

 private:
  nn::FloatStorage storage_;
};

// Key: `format` ("fp16" or "bf16").
Result<std::shared_ptr<const Pass>> ReadHalfWeights(Fields& fields);

}  // namespace fl::deploy
