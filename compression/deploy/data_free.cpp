#include "fl/compression/deploy/data_free.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/evaluate.h"
#include "fl/common/nn/gradient.h"
#include "fl/common/nn/initialize.h"
#include "fl/common/nn/loss.h"
#include "fl/common/nn/session.h"
#include "fl/compression/deploy/internal/moment_loss.h"

namespace fl::deploy {
namespace {

constexpr std::size_t kBatch = 50;
constexpr std::size_t kLatent = 32;     // Noise that a sample is made of.
constexpr double kFeatureWeight = 0.1;  // DAFL's alpha.
constexpr double kEntropyWeight = 5;    // DAFL's beta.

// Adam (Kingma & Ba 2015, arXiv:1412.6980).
class Adam {
 public:
  Adam(double rate, std::size_t count) : rate_(rate), first_(count), second_(count) {}

  void Step(std::span<const float> gradient, std::span<float> values) {
    ++steps_;
    const double first_scale = 1 / (1 - std::pow(kFirst, steps_));
    const double second_scale = 1 / (1 - std::pow(kSecond, steps_));
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double g = static_cast<double>(gradient[i]);
      first_[i] = kFirst * first_[i] + (1 - kFirst) * g;
      second_[i] = kSecond * second_[i] + (1 - kSecond) * g * g;
      values[i] -= static_cast<float>(rate_ * first_[i] * first_scale /
                                      (std::sqrt(second_[i] * second_scale) + 1e-8));
    }
  }

 private:
  static constexpr double kFirst = 0.9;
  static constexpr double kSecond = 0.999;
  double rate_;
  int steps_ = 0;
  std::vector<double> first_;
  std::vector<double> second_;
};

// The input's mean and deviation as they are used: 0 and 1 where unknown.
struct InputScale {
  std::vector<float> mean;
  std::vector<float> deviation;
};

Result<InputScale> ScaleOf(const nn::Graph& graph, const DataStatistics& statistics) {
  const std::size_t features = graph.input_shape().count();
  if (statistics.input_mean.empty() && statistics.input_deviation.empty())
    return InputScale{std::vector<float>(features, 0.0F), std::vector<float>(features, 1.0F)};
  if (statistics.input_mean.size() != features || statistics.input_deviation.size() != features) {
    return Error{ErrorCode::kShapeMismatch, "expected statistics of " + std::to_string(features) +
                                                " input features, found " +
                                                std::to_string(statistics.input_mean.size())};
  }
  return InputScale{statistics.input_mean, statistics.input_deviation};
}

// Adds the derivative of tv_weight * mean square difference of neighbours, and of l2_weight * mean
// square distance from the mean.
void AddPriors(const nn::Graph& graph, const DataFreeConfig& config, const InputScale& scale,
               std::span<const float> values, std::span<float> gradient) {
  const Shape& shape = graph.input_shape();
  const std::size_t features = shape.count();
  const double share = 2 / static_cast<double>(values.size());
  const auto pull = [&](std::size_t a, std::size_t b) {
    const double slope = share * config.tv_weight *
                         (static_cast<double>(values[a]) - static_cast<double>(values[b]));
    gradient[a] += static_cast<float>(slope);
    gradient[b] -= static_cast<float>(slope);
  };
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t feature = i % features;
    gradient[i] += static_cast<float>(
        share * config.l2_weight *
        (static_cast<double>(values[i]) - static_cast<double>(scale.mean[feature])));
    if (shape.rank() != 3) continue;
    const std::size_t row = shape[1] * shape[2];
    if (feature % row + shape[2] < row) pull(i, i + shape[2]);
    if (feature + row < features) pull(i, i + row);
  }
}

// What both ways share.
struct Task {
  const Teacher& teacher;
  const DataStatistics& statistics;
  const DataFreeConfig& config;
  const RngStream& rng;
  const std::atomic<bool>& stop;
  InputScale scale;

  std::size_t features() const { return teacher.graph.input_shape().count(); }
  std::size_t classes() const { return teacher.graph.output_shape().count(); }
  Result<> CheckGoesOn() const {
    if (stop.load(std::memory_order_relaxed)) return Error{ErrorCode::kUnavailable, "stopped"};
    return {};
  }
};

Error NotFinite() {
  return {ErrorCode::kNotFinite, "data_free: the teacher's answers are not finite"};
}

Result<nn::TrainingStep> TeacherStep(const Task& task) {
  nn::TrainingOptions options;
  options.input_gradient = true;
  return nn::TrainingStep::Create(task.teacher.graph, kBatch, options);
}

// Replaces each value of normal noise by c times the value `stride` before it and the rest of its
// own, where the sample has one: neighbours so far apart then have the correlation c, and
// deviations stay 1.
void Correlate(float c, std::size_t stride, std::size_t block, std::span<float> noise) {
  const float own = std::sqrt(1 - c * c);
  for (std::size_t i = 0; i < noise.size(); ++i)
    if (i % block >= stride) noise[i] = c * noise[i - stride] + own * noise[i];
}

// A batch to begin with.
std::vector<float> StartOf(const Task& task, RngStream rng) {
  std::vector<float> input(kBatch * task.features());
  rng.FillNormal(input);
  const Shape& shape = task.teacher.graph.input_shape();
  if (shape.rank() == 3) {
    constexpr float kMost = 0.99F;
    const auto& known = task.statistics.neighbour_correlation;
    const std::size_t row = shape[1] * shape[2];
    Correlate(std::clamp(known[0], 0.0F, kMost), row, task.features(), input);
    Correlate(std::clamp(known[1], 0.0F, kMost), shape[2], row, input);
  }
  for (std::size_t i = 0; i < input.size(); ++i) {
    const std::size_t feature = i % task.features();
    input[i] = task.scale.mean[feature] + task.scale.deviation[feature] * input[i];
  }
  return input;
}

// The class of sample i: each in its share of any long enough run of samples.
std::int32_t LabelOf(const Task& task, std::size_t i) {
  const std::vector<double>& shares = task.statistics.class_shares;
  if (shares.empty()) return static_cast<std::int32_t>(i % task.classes());
  constexpr double kGoldenRatio = 0.6180339887498949;
  double place = std::fmod(static_cast<double>(i) * kGoldenRatio, 1.0);
  std::size_t label = 0;
  while (label + 1 < shares.size() && place >= shares[label]) place -= shares[label++];
  return static_cast<std::int32_t>(label);
}

Result<> OptimizeInputs(const Task& task, data::Samples& samples, std::vector<float>& features) {
  FL_TRY(nn::TrainingStep step, TeacherStep(task));
  FL_TRY(internal::MomentLoss moments,
         internal::MomentLoss::Create(task.teacher.graph, task.statistics,
                                      task.config.statistics_weight));
  std::vector<float> unused(task.teacher.parameters.size());
  std::vector<float> input_gradient(kBatch * task.features());
  std::vector<std::int32_t> labels(kBatch);
  for (std::size_t first = 0; first < task.config.samples; first += kBatch) {
    std::vector<float> input = StartOf(task, task.rng.Child("inputs", first));
    for (std::size_t i = 0; i < kBatch; ++i) labels[i] = LabelOf(task, first + i);
    nn::TrainingBatch batch;
    batch.count = kBatch;
    batch.input = input;
    batch.labels = labels;
    batch.hook = &moments;
    batch.running_statistics = true;
    batch.input_gradient = input_gradient;
    Adam adam(task.config.learning_rate, input.size());
    for (std::uint32_t i = 0; i < task.config.steps; ++i) {
      FL_TRY_OK(task.CheckGoesOn());
      if (!std::isfinite(step.Compute(task.teacher.parameters, batch, unused))) return NotFinite();
      AddPriors(task.teacher.graph, task.config, task.scale, input, input_gradient);
      adam.Step(input_gradient, input);
    }
    features.insert(features.end(), input.begin(), input.end());
    samples.labels.insert(samples.labels.end(), labels.begin(), labels.end());
  }
  return {};
}

// The teacher's part of the generator's loss.
class GeneratorLoss final : public internal::MomentLoss {
 public:
  GeneratorLoss(internal::MomentLoss moments, const nn::Graph& graph)
      : internal::MomentLoss(std::move(moments)), output_(graph.nodes.size() - 1) {
    features_ = graph.nodes.back().inputs[0];
    // Flatten and reshape are not shown, but what they read.
    while (graph.nodes[features_].kind == nn::OpKind::kFlatten ||
           graph.nodes[features_].kind == nn::OpKind::kReshape)
      features_ = graph.nodes[features_].inputs[0];
  }

  double OnBackward(std::size_t node, std::span<const float> output,
                    std::span<float> gradient) override {
    double loss = internal::MomentLoss::OnBackward(node, output, gradient);
    if (node == output_) loss += AddAnswers(output, gradient);
    if (node != features_) return loss;
    const double share = kFeatureWeight / static_cast<double>(output.size());
    for (std::size_t i = 0; i < output.size(); ++i) {
      loss -= share * std::abs(static_cast<double>(output[i]));
      if (output[i] != 0) gradient[i] -= static_cast<float>(output[i] > 0 ? share : -share);
    }
    return loss;
  }

 private:
  // Cross entropy against the own answer, and the entropy of the mean answer.
  static double AddAnswers(std::span<const float> logits, std::span<float> gradient) {
    const std::size_t classes = logits.size() / kBatch;
    std::vector<std::int32_t> answers(kBatch);
    for (std::size_t i = 0; i < kBatch; ++i)
      answers[i] = static_cast<std::int32_t>(nn::ArgMax(logits.subspan(i * classes, classes)));
    std::vector<float> own(logits.size());
    double loss = nn::SoftmaxCrossEntropy(logits, answers, own);
    // The derivative of cross entropy is (p - one-hot) / batch: p is what it says.
    std::vector<double> probability(logits.size());
    std::vector<double> mean(classes);
    for (std::size_t i = 0; i < logits.size(); ++i) {
      const bool answer = static_cast<std::size_t>(answers[i / classes]) == i % classes;
      probability[i] = static_cast<double>(own[i]) * kBatch + (answer ? 1 : 0);
      mean[i % classes] += probability[i] / kBatch;
    }
    std::vector<double> slope(classes);  // Of sum p log p with respect to the mean p.
    for (std::size_t c = 0; c < classes; ++c) {
      const double logarithm = std::log(std::max(mean[c], 1e-12));
      loss += kEntropyWeight * mean[c] * logarithm;
      slope[c] = kEntropyWeight * (logarithm + 1);
    }
    for (std::size_t i = 0; i < kBatch; ++i) {
      double expected = 0;
      for (std::size_t c = 0; c < classes; ++c) expected += probability[i * classes + c] * slope[c];
      for (std::size_t c = 0; c < classes; ++c) {
        const std::size_t at = i * classes + c;
        gradient[at] += own[at] + static_cast<float>(probability[at] * (slope[c] - expected) /
                                                     static_cast<double>(kBatch));
      }
    }
    return loss;
  }

  std::size_t output_;
  std::size_t features_ = 0;
};

// Hands what the teacher says about the generator's output back to the generator.
class AskTeacher final : public nn::TrainingHook {
 public:
  AskTeacher(const Task& task, nn::TrainingStep step, GeneratorLoss loss, std::size_t output)
      : task_(task),
        step_(std::move(step)),
        loss_(std::move(loss)),
        output_(output),
        input_(kBatch * task.features()),
        unused_(task.teacher.parameters.size()) {}

  void OnForward(std::size_t /*node*/, std::span<float> /*output*/) override {}

  double OnBackward(std::size_t node, std::span<const float> output,
                    std::span<float> gradient) override {
    if (node != output_) return 0;
    std::vector<float> input_gradient(input_.size());
    Scale(output);
    nn::TrainingBatch batch;
    batch.count = kBatch;
    batch.input = input_;
    batch.hook = &loss_;
    batch.running_statistics = true;
    batch.input_gradient = input_gradient;
    const double loss = step_.Compute(task_.teacher.parameters, batch, unused_);
    AddPriors(task_.teacher.graph, task_.config, task_.scale, input_, input_gradient);
    for (std::size_t i = 0; i < gradient.size(); ++i)
      gradient[i] += input_gradient[i] * task_.scale.deviation[i % task_.features()];
    return loss;
  }

  // Of the generator's output.
  std::span<const float> Scale(std::span<const float> output) {
    for (std::size_t i = 0; i < output.size(); ++i) {
      const std::size_t feature = i % task_.features();
      input_[i] = task_.scale.mean[feature] + task_.scale.deviation[feature] * output[i];
    }
    return input_;
  }
  // The teacher's answers to the last batch.
  std::span<const float> answers() const { return step_.outputs(); }

 private:
  const Task& task_;
  nn::TrainingStep step_;
  GeneratorLoss loss_;
  std::size_t output_;
  std::vector<float> input_;
  std::vector<float> unused_;
};

Result<> RunGenerator(const Task& task, data::Samples& samples, std::vector<float>& features) {
  const std::vector<std::string> layers = {"dense 128", "relu",
                                           "dense " + std::to_string(task.features())};
  FL_TRY(const nn::Graph graph,
         nn::BuildGraph(Shape{kLatent}, layers, nn::LossName(nn::LossKind::kMeanSquaredError)));
  FL_TRY(nn::TrainingStep teacher_step, TeacherStep(task));
  FL_TRY(internal::MomentLoss moments,
         internal::MomentLoss::Create(task.teacher.graph, task.statistics,
                                      task.config.statistics_weight));
  AskTeacher teacher(task, std::move(teacher_step),
                     GeneratorLoss(std::move(moments), task.teacher.graph), graph.nodes.size() - 1);
  FL_TRY(nn::TrainingStep step, nn::TrainingStep::Create(graph, kBatch));
  std::vector<float> parameters =
      nn::InitializeParameters(graph, task.rng.Child("generator")).values;
  std::vector<float> gradient(parameters.size());
  std::vector<float> noise(kBatch * kLatent);
  RngStream rng = task.rng.Child("noise");
  Adam adam(task.config.learning_rate / 50, parameters.size());
  nn::TrainingBatch batch;
  batch.count = kBatch;
  batch.hook = &teacher;
  const std::size_t batches = (task.config.samples + kBatch - 1) / kBatch;
  for (std::size_t i = 0; i < task.config.steps + batches; ++i) {
    FL_TRY_OK(task.CheckGoesOn());
    rng.FillNormal(noise);
    batch.input = noise;
    if (!std::isfinite(step.Compute(parameters, batch, gradient))) return NotFinite();
    if (i < task.config.steps) {
      adam.Step(gradient, parameters);
      continue;
    }
    const auto made = teacher.Scale(step.outputs());
    features.insert(features.end(), made.begin(), made.end());
    for (std::size_t k = 0; k < kBatch; ++k) {
      samples.labels.push_back(static_cast<std::int32_t>(
          nn::ArgMax(teacher.answers().subspan(k * task.classes(), task.classes()))));
    }
  }
  return {};
}

}  // namespace

Result<data::Subset> SynthesizeSamples(const Teacher& teacher, const DataStatistics& statistics,
                                       const DataFreeConfig& config, const RngStream& rng,
                                       const std::atomic<bool>& stop) {
  FL_TRY(InputScale scale, ScaleOf(teacher.graph, statistics));
  if (const std::size_t classes = teacher.graph.output_shape().count();
      !statistics.class_shares.empty() && statistics.class_shares.size() != classes) {
    return Error{ErrorCode::kShapeMismatch, "expected shares of " + std::to_string(classes) +
                                                " classes, found " +
                                                std::to_string(statistics.class_shares.size())};
  }
  const Task task{teacher, statistics, config, rng, stop, std::move(scale)};
  data::Samples samples;
  samples.shape = teacher.graph.input_shape();
  samples.classes = task.classes();
  std::vector<float> features;
  FL_TRY_OK(config.method == DataFreeMethod::kStatistics ? OptimizeInputs(task, samples, features)
                                                         : RunGenerator(task, samples, features));
  samples.labels.resize(config.samples);
  features.resize(config.samples * task.features());
  samples.features = std::move(features);
  auto dataset = data::Dataset::Create(std::move(samples));
  if (!dataset) return dataset.error();
  return data::Subset(std::make_shared<const data::Dataset>(std::move(dataset).value()));
}

}  // namespace fl::deploy
