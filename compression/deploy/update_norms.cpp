#include "fl/compression/deploy/update_norms.h"

#include <algorithm>
#include <vector>

#include "fl/common/nn/gradient.h"
#include "fl/common/nn/training_hook.h"

namespace fl::deploy {
namespace {

// With a hook a step needs no labels.
class NoLoss final : public nn::TrainingHook {
 public:
  void OnForward(std::size_t /*node*/, std::span<float> /*output*/) override {}
  double OnBackward(std::size_t /*node*/, std::span<const float> /*output*/,
                    std::span<float> /*gradient*/) override {
    return 0;
  }
};

}  // namespace

Result<> UpdateNorms(const nn::Graph& graph, const ImportanceInputs& inputs,
                     std::span<float> parameters) {
  if (graph.statistics.empty() || inputs.samples.empty()) return {};
  constexpr std::size_t kMinibatches = 40;
  if (inputs.samples.dataset().features() != graph.input_shape().count()) {
    return Error{ErrorCode::kShapeMismatch, "expected samples of " + graph.input_shape().ToText() +
                                                ", found " +
                                                inputs.samples.dataset().shape().ToText()};
  }
  const std::size_t count = std::min<std::size_t>(inputs.samples.count(), 32);
  FL_TRY(nn::TrainingStep step, nn::TrainingStep::Create(graph, count));
  std::vector<float> gradient(parameters.size());
  std::vector<float> values(count * graph.input_shape().count());
  std::vector<std::uint32_t> positions(count);
  RngStream rng = inputs.rng.Child("norms");
  NoLoss hook;
  for (std::size_t i = 0; i < kMinibatches; ++i) {
    for (std::uint32_t& position : positions)
      position = static_cast<std::uint32_t>(rng.UniformInteger(inputs.samples.count()));
    inputs.samples.CopySamples(positions, values);
    nn::TrainingBatch batch;
    batch.count = count;
    batch.input = values;
    batch.hook = &hook;
    step.Compute(parameters, batch, gradient);
    step.UpdateStatistics(parameters);
  }
  if (AllFinite(parameters)) return {};
  return Error{ErrorCode::kNotFinite, "expected finite activations, found others"};
}

}  // namespace fl::deploy
