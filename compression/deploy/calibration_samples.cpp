#include "fl/compression/deploy/calibration_samples.h"

namespace fl::deploy {

SampleBlock CalibrationSamples(const PassInputs& inputs, std::size_t most) {
  return CalibrationSamples(inputs.calibration, inputs.training, most);
}

SampleBlock CalibrationSamples(const data::Subset& calibration, const data::Subset& training,
                               std::size_t most) {
  const std::size_t features = training.dataset().features();
  SampleBlock block;
  for (const data::Subset* subset : {&calibration, &training}) {
    for (std::size_t i = 0; i < subset->count() && block.count < most; ++i, ++block.count) {
      block.values.resize((block.count + 1) * features);
      subset->CopySample(i, std::span(block.values).subspan(block.count * features));
      block.labels.push_back(subset->label(i));
    }
  }
  return block;
}

}  // namespace fl::deploy
