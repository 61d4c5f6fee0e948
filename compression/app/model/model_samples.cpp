#include "fl/compression/app/model/model_samples.h"

#include "fl/common/nn/calibrate.h"
#include "fl/common/random/rng_stream.h"

namespace fl::model_app {

Result<data::Subset> DrawSamples(const nn::Graph& graph) {
  constexpr std::size_t kSamples = 64;
  data::Samples samples;
  samples.shape = graph.input_shape();
  samples.classes = 1;
  std::vector<float> values(kSamples * samples.shape.count());
  RngStream(1).FillUniform(values);
  samples.features = std::move(values);
  samples.labels.assign(kSamples, 0);
  FL_TRY(data::Dataset dataset, data::Dataset::Create(std::move(samples)));
  return data::Subset(std::make_shared<const data::Dataset>(std::move(dataset)));
}

Result<> QuantizeBy(const data::Subset& samples, deploy::WorkingModel& model) {
  const std::size_t features = samples.dataset().features();
  std::vector<float> values(samples.count() * features);
  for (std::size_t i = 0; i < samples.count(); ++i)
    samples.CopySample(i, std::span(values).subspan(i * features, features));
  FL_TRY(const std::vector<nn::ActivationRange> ranges,
         nn::ObserveRanges(model.graph, model.parameters, values, samples.count(),
                           nn::RangeMethod::kMinMax));
  FL_TRY(model.quantized, nn::Quantize(model.graph, model.parameters, ranges));
  return {};
}

}  // namespace fl::model_app
