#include "fl/compression/deploy/calibration_samples.h"

namespace fl::deploy {

SampleBlock CalibrationSamples(const PassInputs& inputs, std::size_t most) {
  const std::size_t features = inputs.verification.dataset().features();
  SampleBlock block;
  for (const data::Subset* subset : {&inputs.calibration, &inputs.training}) {
    for (std::size_t i = 0; i < subset->count() && block.count < most; ++i, ++block.count) {
      block.values.resize((block.count + 1) * features);
      subset->CopySample(i, std::span(block.values).subspan(block.count * features));
      block.labels.push_back(subset->label(i));
    }
  }
  return block;
}

}  // namespace fl::deploy
