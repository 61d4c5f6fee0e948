#include "fl/compression/deploy/adaround.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <string>

#include "fl/common/nn/gradient.h"
#include "fl/compression/deploy/layer_model.h"

namespace fl::deploy {
namespace {

constexpr float kStretch = 1.2F;
constexpr float kShift = -0.1F;
constexpr float kFirstMoment = 0.9F;
constexpr float kSecondMoment = 0.999F;
constexpr float kAdamEpsilon = 1e-8F;

// One layer's task: outputs that its weight, on other inputs, is to reproduce.
struct Lesson {
  std::vector<float> inputs;   // x^
  std::vector<float> targets;  // W x + b
  std::size_t count = 0;
};

// The weights of a layer between their two neighbours on the grid.
struct Choice {
  std::vector<float> down;  // The lower value.
  std::vector<float> step;  // To the upper one; 0 at the grid's ends, where there is none.
  std::vector<float> v;     // h(v) is the share of the step taken.
};

float Squash(float v) {
  return 1.0F / (1.0F + std::exp(-v));
}

float Taken(float squashed) {
  return std::clamp(kStretch * squashed + kShift, 0.0F, 1.0F);
}

Choice ChoiceOf(const nn::WeightGrid& grid, std::span<const float> weight) {
  const std::size_t count = weight.size();
  Choice choice{std::vector<float>(count), std::vector<float>(count), std::vector<float>(count)};
  std::vector<std::int16_t> down(count);
  std::vector<std::int16_t> up(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t channel = i % grid.channels();
    const std::size_t at = grid.GroupOf(i / grid.channels(), channel);
    const float step = grid.scale[channel] * static_cast<float>(grid.multiplier[at]);
    const float place = weight[i] / step + static_cast<float>(grid.zero[at]);
    const float floor = std::floor(place);
    const auto least = static_cast<float>(grid.code_min());
    const auto most = static_cast<float>(grid.code_max());
    down[i] = static_cast<std::int16_t>(std::clamp(floor, least, most));
    up[i] = static_cast<std::int16_t>(std::clamp(floor + 1, least, most));
    // The inverse of h, away from its flat ends.
    const float share = std::clamp(place - floor, 0.01F, 0.99F);
    choice.v[i] = -std::log(kStretch / (share - kShift) - 1.0F);
  }
  nn::ValuesOfCodes(grid, down, choice.down);
  nn::ValuesOfCodes(grid, up, choice.step);
  for (std::size_t i = 0; i < count; ++i) choice.step[i] -= choice.down[i];
  return choice;
}

// Deals out batches in a new order for each pass over the samples.
class Batches {
 public:
  Batches(const Lesson& lesson, const nn::Graph& graph, std::size_t batch, RngStream rng)
      : lesson_(lesson),
        batch_(std::min(batch, lesson.count)),
        from_(graph.input_shape().count()),
        to_(graph.output_shape().count()),
        rng_(rng),
        order_(lesson.count),
        at_(lesson.count),
        inputs_(batch_ * from_),
        targets_(batch_ * to_) {
    std::iota(order_.begin(), order_.end(), 0U);
  }
  std::size_t size() const { return batch_; }

  nn::TrainingBatch Next() {
    if (at_ + batch_ > order_.size()) {
      rng_.Shuffle(std::span(order_));
      at_ = 0;
    }
    for (std::size_t i = 0; i < batch_; ++i) {
      Copy(lesson_.inputs, order_[at_ + i], from_, i, inputs_);
      Copy(lesson_.targets, order_[at_ + i], to_, i, targets_);
    }
    at_ += batch_;
    nn::TrainingBatch batch;
    batch.count = batch_;
    batch.input = inputs_;
    batch.targets = targets_;
    return batch;
  }

 private:
  static void Copy(std::span<const float> all, std::size_t sample, std::size_t size, std::size_t i,
                   std::span<float> to) {
    std::ranges::copy(all.subspan(sample * size, size), to.subspan(i * size).begin());
  }

  const Lesson& lesson_;
  std::size_t batch_;
  std::size_t from_;
  std::size_t to_;
  RngStream rng_;
  std::vector<std::uint32_t> order_;
  std::size_t at_;
  std::vector<float> inputs_;
  std::vector<float> targets_;
};

// Adam over V, and what the regularizer adds to the gradient.
class Chooser {
 public:
  Chooser(const AdaRoundConfig& config, Choice& choice)
      : config_(config),
        choice_(choice),
        mean_(choice.v.size(), 0.0F),
        square_(choice.v.size(), 0.0F) {}

  void WriteWeight(std::span<float> weight) const {
    for (std::size_t i = 0; i < weight.size(); ++i)
      weight[i] = choice_.down[i] + choice_.step[i] * Taken(Squash(choice_.v[i]));
  }

  // `gradient` with respect to the weight; `scale` makes it that of the summed squared error.
  void Step(std::uint32_t iteration, std::span<const float> gradient, float scale) {
    const auto t = static_cast<double>(iteration + 1);
    const auto mean_share = static_cast<float>(1 - std::pow(static_cast<double>(kFirstMoment), t));
    const auto square_share =
        static_cast<float>(1 - std::pow(static_cast<double>(kSecondMoment), t));
    const float beta = Beta(iteration);
    const auto rate = static_cast<float>(config_.learning_rate);
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      const float squashed = Squash(choice_.v[i]);
      const float raw = kStretch * squashed + kShift;
      float slope = 0;
      if (raw > 0 && raw < 1) {
        slope = scale * gradient[i] * choice_.step[i] + Regularizer(raw, beta);
        slope *= kStretch * squashed * (1 - squashed);
      }
      mean_[i] = kFirstMoment * mean_[i] + (1 - kFirstMoment) * slope;
      square_[i] = kSecondMoment * square_[i] + (1 - kSecondMoment) * slope * slope;
      choice_.v[i] -=
          rate * (mean_[i] / mean_share) / (std::sqrt(square_[i] / square_share) + kAdamEpsilon);
    }
  }

 private:
  // 0 while the regularizer is off.
  float Beta(std::uint32_t iteration) const {
    const double at = static_cast<double>(iteration) / static_cast<double>(config_.iterations);
    if (at < config_.warm_start) return 0;
    const double share = (at - config_.warm_start) / (1 - config_.warm_start);
    return static_cast<float>(2 + 9 * (1 + std::cos(share * std::numbers::pi)));
  }

  // d/dh of regularizer * (1 - |2h - 1|^beta).
  float Regularizer(float taken, float beta) const {
    if (beta == 0) return 0;
    const float side = 2 * taken - 1;
    if (side == 0) return 0;
    const float power = std::pow(std::abs(side), beta - 1);
    return static_cast<float>(config_.regularizer) * -2 * beta * std::copysign(power, side);
  }

  const AdaRoundConfig& config_;
  Choice& choice_;
  std::vector<float> mean_;
  std::vector<float> square_;
};

Result<double> OutputError(const nn::FloatModel& layer, const Lesson& lesson) {
  FL_TRY(const std::vector<float> outputs, LayerOutputOf(layer, {lesson.inputs, lesson.count}));
  double sum = 0;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const double lost = static_cast<double>(outputs[i]) - static_cast<double>(lesson.targets[i]);
    sum += lost * lost;
  }
  return sum / static_cast<double>(outputs.size());
}

// The layer's weight once every choice is made.
Result<std::vector<float>> LearnRounding(const nn::FloatModel& layer, const nn::WeightGrid& grid,
                                         const Lesson& lesson, const AdaRoundConfig& config,
                                         const RngStream& rng) {
  const std::size_t weights = grid.depth * grid.channels();
  nn::FloatModel trial = layer;
  Choice choice = ChoiceOf(grid, std::span(layer.parameters).first(weights));
  Chooser chooser(config, choice);
  Batches batches(lesson, layer.graph, config.batch, rng);
  FL_TRY(nn::TrainingStep step, nn::TrainingStep::Create(layer.graph, batches.size()));
  std::vector<float> gradient(trial.parameters.size());
  // The engine's loss is a mean over channels, too; the formula's is a sum over them.
  const auto scale = static_cast<float>(grid.channels());
  for (std::uint32_t i = 0; i < config.iterations; ++i) {
    if (config.stop != nullptr && config.stop->load(std::memory_order_relaxed))
      return Error{ErrorCode::kUnavailable, "stopped"};
    chooser.WriteWeight(std::span(trial.parameters).first(weights));
    step.Compute(trial.parameters, batches.Next(), gradient);
    chooser.Step(i, std::span(gradient).first(weights), scale);
  }
  for (std::size_t i = 0; i < weights; ++i) {
    trial.parameters[i] = choice.down[i];
    if (Taken(Squash(choice.v[i])) > 0.5F) trial.parameters[i] += choice.step[i];
  }
  trial.parameters.resize(weights);
  return trial.parameters;
}

struct LayerTask {
  const nn::Graph& graph;
  std::size_t node;
  std::span<const float> parameters;
  const nn::SampleValues& samples;
  const nn::ActivationRange* range;
};

Result<Lesson> LessonOf(const LayerTask& task, const nn::FloatModel& layer,
                        std::span<const float> rounded) {
  Lesson lesson;
  lesson.count = task.samples.count;
  FL_TRY(const std::vector<float> inputs,
         LayerInputOf(task.graph, task.parameters, task.samples, task.node, nullptr));
  FL_TRY(lesson.targets, LayerOutputOf(layer, {inputs, lesson.count}));
  FL_TRY(lesson.inputs, LayerInputOf(task.graph, rounded, task.samples, task.node, task.range));
  return lesson;
}

Result<> RoundLayer(const LayerTask& task, const AdaRoundConfig& config, const RngStream& rng,
                    RoundedWeights& rounded, AdaRounded& outcome) {
  const nn::Node& node = task.graph.nodes[task.node];
  const nn::WeightGrid& grid = rounded.grids.at(node.name);
  const nn::FloatModel layer = LayerModelOf(task.graph, task.node, task.parameters);
  nn::FloatModel nearest = LayerModelOf(task.graph, task.node, rounded.parameters);
  FL_TRY(const Lesson lesson, LessonOf(task, layer, rounded.parameters));
  FL_TRY(const std::vector<float> learned, LearnRounding(layer, grid, lesson, config, rng));
  FL_TRY(const double before, OutputError(nearest, lesson));
  const auto weight =
      std::span(rounded.parameters)
          .subspan(task.graph.parameters.offset(node.parameters[0]), learned.size());
  std::ranges::copy(learned, nearest.parameters.begin());
  FL_TRY(const double after, OutputError(nearest, lesson));
  ++outcome.layers;
  outcome.error_before += before;
  outcome.error_after += std::min(before, after);
  if (!(after < before)) return {};
  // On the grid to the last bit, whatever the sums above rounded to.
  std::vector<float> on_grid(learned.size());
  nn::RoundToGrid(grid, learned, on_grid);
  for (std::size_t i = 0; i < learned.size(); ++i) {
    if (on_grid[i] != weight[i]) ++outcome.changed;
    weight[i] = on_grid[i];
  }
  return {};
}

}  // namespace

Result<> AdaRoundConfig::Validate() const {
  if (iterations >= 1 && batch >= 1 && learning_rate > 0 && regularizer >= 0 && warm_start >= 0 &&
      warm_start < 1 && std::isfinite(learning_rate) && std::isfinite(regularizer)) {
    return {};
  }
  return Error{ErrorCode::kInvalidArgument,
               "adaround: expected iterations and batch of at least 1, a positive learning rate, a "
               "regularizer of at least 0 and a warm start in [0, 1)"};
}

Result<AdaRounded> AdaRound(const nn::Graph& graph, std::span<const float> parameters,
                            const nn::SampleValues& samples,
                            std::span<const nn::ActivationRange> ranges,
                            const AdaRoundConfig& config, RoundedWeights& rounded) {
  FL_TRY_OK(config.Validate());
  FL_TRY_OK(nn::CheckSamples(graph, parameters, samples, "adaround"));
  if (rounded.parameters.size() != parameters.size() ||
      (!ranges.empty() && ranges.size() != graph.nodes.size())) {
    return Error{
        ErrorCode::kInvalidArgument,
        "adaround: expected rounded weights of the graph and a range for each node, found " +
            std::to_string(rounded.parameters.size()) + " values and " +
            std::to_string(ranges.size()) + " ranges"};
  }
  AdaRounded outcome;
  for (const std::size_t i : WeightNodes(graph)) {
    const nn::Node& node = graph.nodes[i];
    const auto grid = rounded.grids.find(node.name);
    if (grid == rounded.grids.end() || node.parameters.size() != 2) continue;
    if (grid->second.spec.bits > config.bits_max) continue;
    const nn::ActivationRange* range = ranges.empty() ? nullptr : &ranges[node.inputs[0]];
    FL_TRY_OK(RoundLayer({graph, i, parameters, samples, range}, config,
                         config.rng.Child("adaround", node.name), rounded, outcome));
  }
  return outcome;
}

}  // namespace fl::deploy
