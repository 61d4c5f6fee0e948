#include "fl/client/train/trainer.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "fl/common/nn/gradient.h"
#include "fl/common/nn/optimizer.h"

namespace fl::client {
namespace {

// The buffers of one batch, filled anew for each step.
class BatchLoader {
 public:
  BatchLoader(const data::Subset& samples, const nn::Graph& graph, std::size_t batch_max)
      : samples_(samples),
        regression_(graph.loss == nn::LossKind::kMeanSquaredError),
        input_(batch_max * samples.dataset().features()),
        labels_(regression_ ? 0 : batch_max),
        targets_(regression_ ? batch_max : 0) {}

  nn::TrainingBatch Load(std::span<const std::uint32_t> positions) {
    const std::span<float> input =
        std::span(input_).first(positions.size() * samples_.dataset().features());
    samples_.CopySamples(positions, input);
    nn::TrainingBatch batch;
    batch.count = positions.size();
    batch.input = input;
    for (std::size_t i = 0; i < positions.size(); ++i) {
      if (regression_) {
        targets_[i] = samples_.target(positions[i]);
      } else {
        labels_[i] = samples_.label(positions[i]);
      }
    }
    if (regression_) {
      batch.targets = std::span(targets_).first(positions.size());
    } else {
      batch.labels = std::span(labels_).first(positions.size());
    }
    return batch;
  }

 private:
  const data::Subset& samples_;
  bool regression_;
  std::vector<float> input_;
  std::vector<std::int32_t> labels_;
  std::vector<float> targets_;
};

nn::SgdConfig MakeSgdConfig(const TrainingConfig& training, std::uint64_t round) {
  nn::SgdConfig config;
  config.learning_rate = nn::RoundLearningRate(training.learning_rate, training.learning_rate_decay,
                                               std::max<std::uint64_t>(round, 1));
  config.momentum = training.momentum;
  config.weight_decay = training.weight_decay;
  config.proximal = training.proximal;
  config.gradient_clip = training.gradient_clip;
  return config;
}

void Scale(std::span<const ScaledRange> ranges, std::span<float> values) {
  for (const ScaledRange& range : ranges) {
    for (float& value : values.subspan(range.first, range.count)) value *= range.factor;
  }
}

}  // namespace

Result<LocalDelta> Trainer::Train(const NamedTensors& model, const data::Subset& samples,
                                  const RngStream& rng) const {
  if (samples.empty()) {
    return Error{ErrorCode::kInvalidArgument, "training: expected samples, found none"};
  }
  const nn::SgdConfig config = MakeSgdConfig(training_, round_);
  FL_TRY_OK(config.Validate());
  const std::size_t batch_max = std::min<std::size_t>(training_.batch_size, samples.count());
  FL_TRY(nn::TrainingStep step, nn::TrainingStep::Create(graph_, batch_max));
  nn::Sgd sgd(config, graph_);
  BatchLoader loader(samples, graph_, batch_max);
  std::vector<float> parameters = model.values;
  std::vector<float> gradient(parameters.size());
  std::vector<float> effective;  // The parameters as the network has them, where some are scaled.
  std::vector<std::uint32_t> order(samples.count());

  LocalDelta result;
  for (std::uint32_t epoch = 0; epoch < training_.epochs; ++epoch) {
    std::iota(order.begin(), order.end(), 0U);
    rng.Child("epoch", epoch).Shuffle(std::span(order));
    double loss_sum = 0;
    for (std::size_t first = 0; first < order.size(); first += batch_max) {
      if (stop_) return Error{ErrorCode::kUnavailable, "training: stopped"};
      const std::span<const std::uint32_t> rest = std::span(order).subspan(first);
      const auto positions = rest.first(std::min(batch_max, rest.size()));
      if (first == 0) samples.Fetch(positions);
      const nn::TrainingBatch batch = loader.Load(positions);
      const auto following = rest.subspan(positions.size());
      samples.Fetch(following.first(std::min(batch_max, following.size())));
      if (!scaled_.empty()) {
        effective = parameters;
        Scale(scaled_, effective);
      }
      const double loss = step.Compute(scaled_.empty() ? parameters : effective, batch, gradient);
      Scale(scaled_, gradient);
      loss_sum += loss * static_cast<double>(positions.size());
      sgd.Step(gradient, model.values, parameters);
      step.UpdateStatistics(parameters);
    }
    result.loss = loss_sum / static_cast<double>(order.size());
  }
  if (!AllFinite(parameters)) {
    return Error{ErrorCode::kNotFinite,
                 "training: the model diverged (mean loss of the last epoch " +
                     std::to_string(result.loss) + "); a lower learning_rate may help"};
  }
  result.examples = samples.count();
  result.delta = NamedTensors(model.layout);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    result.delta.values[i] = parameters[i] - model.values[i];
  }
  return result;
}

}  // namespace fl::client
