#include "fl/compression/deploy/fine_tune.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "fl/common/nn/initialize.h"
#include "fl/common/nn/loss.h"
#include "fl/common/nn/optimizer.h"
#include "fl/common/nn/session.h"

namespace fl::deploy {
namespace {

constexpr unsigned kAttemptsMax = 4;

// What there is to learn from: every sample, its label and, with a teacher, the teacher's logits,
// in the subset's order.
struct Lesson {
  std::vector<float> input;
  std::vector<std::int32_t> labels;
  std::vector<float> logits;
  std::size_t features = 0;
  std::size_t classes = 0;

  std::size_t count() const { return labels.size(); }
};

Result<Lesson> Prepare(const FineTuneInputs& inputs) {
  const data::Subset& training = inputs.training;
  Lesson lesson;
  lesson.features = training.dataset().features();
  lesson.classes = inputs.graph.output_shape().count();
  lesson.input.resize(training.count() * lesson.features);
  for (std::size_t i = 0; i < training.count(); ++i) {
    training.CopySample(i, std::span(lesson.input).subspan(i * lesson.features, lesson.features));
    lesson.labels.push_back(training.label(i));
  }
  if (!inputs.teacher) return lesson;
  if (inputs.teacher->logits.empty()) {
    FL_TRY(lesson.logits, TeacherLogits(*inputs.teacher, training));
  } else {
    lesson.logits.assign(inputs.teacher->logits.begin(), inputs.teacher->logits.end());
  }
  if (lesson.logits.size() == training.count() * lesson.classes) return lesson;
  return Error{ErrorCode::kShapeMismatch,
               "expected " + std::to_string(training.count() * lesson.classes) +
                   " logits of the teacher, found " + std::to_string(lesson.logits.size())};
}

// Deals the samples out in a new random order for each pass over them.
class Dealer {
 public:
  Dealer(const Lesson& lesson, std::size_t batch, RngStream rng)
      : lesson_(lesson),
        batch_(std::min(batch, lesson.count())),
        rng_(rng),
        order_(lesson.count()),
        at_(order_.size()),
        input_(batch_ * lesson.features),
        labels_(batch_),
        logits_(lesson.logits.empty() ? 0 : batch_ * lesson.classes) {
    std::iota(order_.begin(), order_.end(), 0U);
  }

  nn::TrainingBatch Next(const nn::Distillation& settings) {
    if (at_ + batch_ > order_.size()) {
      rng_.Shuffle(std::span(order_));
      at_ = 0;
    }
    for (std::size_t i = 0; i < batch_; ++i) {
      const std::size_t sample = order_[at_ + i];
      std::copy_n(lesson_.input.begin() + Offset(sample * lesson_.features), lesson_.features,
                  input_.begin() + Offset(i * lesson_.features));
      if (!logits_.empty()) {
        std::copy_n(lesson_.logits.begin() + Offset(sample * lesson_.classes), lesson_.classes,
                    logits_.begin() + Offset(i * lesson_.classes));
      }
      labels_[i] = lesson_.labels[sample];
    }
    at_ += batch_;
    return {.count = batch_,
            .input = input_,
            .labels = labels_,
            .targets = {},
            .teacher_logits = logits_,
            .distillation = settings};
  }
  std::size_t batch() const { return batch_; }
  // The teacher's logits and the inputs of the last batch, for a hook to replace.
  std::span<float> logits() { return logits_; }
  std::span<float> inputs() { return input_; }

 private:
  static std::ptrdiff_t Offset(std::size_t index) { return static_cast<std::ptrdiff_t>(index); }

  const Lesson& lesson_;
  std::size_t batch_;
  RngStream rng_;
  std::vector<std::uint32_t> order_;
  std::size_t at_;
  std::vector<float> input_;
  std::vector<std::int32_t> labels_;
  std::vector<float> logits_;
};

std::size_t StepsOf(const FineTuneConfig& config, std::size_t samples) {
  if (config.steps > 0) return config.steps;
  return std::size_t{config.epochs} *
         std::max<std::size_t>(1, samples / std::min<std::size_t>(config.batch, samples));
}

nn::SgdConfig SgdOf(const FineTuneConfig& config, double learning_rate,
                    std::uint32_t warm_up_steps) {
  nn::SgdConfig sgd;
  sgd.learning_rate = learning_rate;
  sgd.momentum = config.momentum;
  sgd.weight_decay = config.weight_decay;
  sgd.gradient_clip = config.clip;
  sgd.warm_up_steps = warm_up_steps;
  return sgd;
}

// Indices of the values that masks keep at zero.
Result<std::vector<std::size_t>> MaskedPositions(const nn::Graph& graph, const MaskMap& masks) {
  std::vector<float> ones(graph.parameters.total(), 1.0F);
  FL_TRY_OK(ApplyMasks(graph, masks, ones));
  std::vector<std::size_t> positions;
  for (std::size_t i = 0; i < ones.size(); ++i) {
    if (ones[i] == 0) positions.push_back(i);
  }
  return positions;
}

// Means over the first and the last tenth of the steps.
struct Course {
  explicit Course(std::size_t count) : steps(count), tenth(std::max<std::size_t>(1, count / 10)) {}
  bool IsFirst(std::size_t i) const { return i < tenth; }
  bool IsLast(std::size_t i) const { return i + tenth >= steps; }
  void Add(std::size_t i, double loss, double crossentropy) {
    const double share = 1.0 / static_cast<double>(tenth);
    if (IsFirst(i)) {
      loss_first += share * loss;
      crossentropy_first += share * crossentropy;
    }
    if (IsLast(i)) {
      loss_last += share * loss;
      crossentropy_last += share * crossentropy;
    }
  }

  std::size_t steps;
  std::size_t tenth;
  double loss_first = 0;
  double loss_last = 0;
  double crossentropy_first = 0;
  double crossentropy_last = 0;
};

// A run of all steps from the start that `parameters` holds.
class Attempt {
 public:
  Attempt(const FineTuneConfig& config, const FineTuneInputs& inputs,
          const std::vector<std::size_t>& masked)
      : config_(config), inputs_(inputs), masked_(masked) {}

  Result<Course> Run(const Lesson& lesson, const RngStream& rng, FineTuned& outcome) {
    Dealer dealer(lesson, config_.batch, rng.Child("order"));
    FL_TRY(nn::TrainingStep step, nn::TrainingStep::Create(inputs_.graph, dealer.batch()));
    nn::Sgd sgd(SgdOf(config_, outcome.learning_rate, config_.warmup), inputs_.graph);
    gradient_.resize(outcome.parameters.size());
    for (const std::size_t position : masked_) outcome.parameters[position] = 0;
    if (inputs_.hook != nullptr) inputs_.hook->Begin();
    const nn::Distillation settings{.temperature = static_cast<float>(config_.temperature),
                                    .hard_weight = static_cast<float>(config_.alpha),
                                    .standardize = config_.standardize};
    Course course(outcome.steps);
    for (std::size_t i = 0; i < outcome.steps; ++i) {
      if (inputs_.stop.load(std::memory_order_relaxed))
        return Error{ErrorCode::kUnavailable, "stopped"};
      double rate = outcome.learning_rate;
      if (i >= outcome.steps - outcome.steps / 4) rate *= 0.1;
      if (i == outcome.steps - outcome.steps / 4)
        sgd = nn::Sgd(SgdOf(config_, rate, 0), inputs_.graph);
      nn::TrainingBatch batch = dealer.Next(settings);
      batch.running_statistics = inputs_.running_statistics;
      if (inputs_.hook != nullptr) batch.hook = inputs_.hook->inner();
      const FineTuneStep here{i, outcome.steps, rate, batch};
      const double loss = Compute(here, dealer, step, outcome.parameters);
      const bool watched = course.IsFirst(i) || course.IsLast(i);
      course.Add(i, loss, watched ? nn::SoftmaxCrossEntropy(step.outputs(), batch.labels, {}) : 0);
      if (!std::isfinite(loss)) {
        course.loss_last = loss;
        break;
      }
      sgd.Step(gradient_, {}, outcome.parameters);
      step.UpdateStatistics(outcome.parameters);
      if (inputs_.hook != nullptr) inputs_.hook->Stepped(here, outcome.parameters);
      for (const std::size_t position : masked_) outcome.parameters[position] = 0;
    }
    return course;
  }

 private:
  // The loss of one batch; its gradient lies in gradient_.
  double Compute(const FineTuneStep& here, Dealer& dealer, nn::TrainingStep& step,
                 std::span<const float> parameters) {
    FineTuneHook* hook = inputs_.hook;
    if (hook == nullptr) return step.Compute(parameters, here.batch, gradient_);
    hook->Teach(here, dealer.logits());
    hook->Feed(here, dealer.inputs());
    used_.assign(parameters.begin(), parameters.end());
    hook->Transform(here, used_);
    const double loss = step.Compute(used_, here.batch, gradient_);
    return loss + hook->Adjust(here, used_, step.outputs(), gradient_);
  }

  const FineTuneConfig& config_;
  const FineTuneInputs& inputs_;
  const std::vector<std::size_t>& masked_;
  std::vector<float> gradient_;
  std::vector<float> used_;
};

bool Succeeded(const Course& course, const FineTuneInputs& inputs, const FineTuned& outcome) {
  if (!std::isfinite(course.loss_last) || !AllFinite(outcome.parameters)) return false;
  // A hook's own loss may rise while the model learns: early exits follow an output that moves.
  if (inputs.start.empty())
    return course.loss_last < 0.9 * course.loss_first ||
           course.crossentropy_last < 0.9 * course.crossentropy_first;
  // What goes on from where it is may have little to gain, so that a loss that stays is no failure.
  const double constant = std::log(static_cast<double>(inputs.graph.output_shape().count()));
  const bool collapsed = course.crossentropy_last >= 0.95 * constant &&
                         course.crossentropy_first < 0.9 * course.crossentropy_last;
  return !collapsed;
}

}  // namespace

Result<std::vector<float>> TeacherLogits(const Teacher& teacher, const data::Subset& samples) {
  constexpr std::size_t kBatch = 64;
  const std::size_t features = samples.dataset().features();
  const std::size_t classes = teacher.graph.output_shape().count();
  std::vector<float> logits(samples.count() * classes);
  std::vector<float> input(kBatch * features);
  FL_TRY(nn::Session session, nn::Session::Create(teacher.graph, kBatch));
  for (std::size_t i = 0; i < samples.count(); i += kBatch) {
    const std::size_t size = std::min(kBatch, samples.count() - i);
    for (std::size_t k = 0; k < size; ++k)
      samples.CopySample(i + k, std::span(input).subspan(k * features, features));
    session.Run(teacher.parameters, std::span(input).first(size * features), size,
                std::span(logits).subspan(i * classes, size * classes));
  }
  return logits;
}

Result<FineTuned> FineTune(const FineTuneConfig& config, const FineTuneInputs& inputs) {
  if (inputs.training.empty())
    return Error{ErrorCode::kInvalidArgument, "expected training samples, found none"};
  FL_TRY(const std::vector<std::size_t> masked, MaskedPositions(inputs.graph, inputs.masks));
  FL_TRY(const Lesson lesson, Prepare(inputs));
  FineTuned outcome;
  outcome.steps = StepsOf(config, inputs.training.count());
  outcome.learning_rate = config.learning_rate;
  for (outcome.attempts = 1;; ++outcome.attempts) {
    const RngStream rng = inputs.rng.Child("attempt", outcome.attempts);
    outcome.parameters = inputs.start.empty()
                             ? nn::InitializeParameters(inputs.graph, rng.Child("start")).values
                             : std::vector<float>(inputs.start.begin(), inputs.start.end());
    FL_TRY(const Course course, Attempt(config, inputs, masked).Run(lesson, rng, outcome));
    outcome.loss_first = course.loss_first;
    outcome.loss_last = course.loss_last;
    outcome.converged = Succeeded(course, inputs, outcome);
    if (outcome.converged || outcome.attempts == kAttemptsMax) return outcome;
    outcome.learning_rate /= 2;
  }
}

void ReadFineTuneConfig(Fields& fields, FineTuneConfig& config) {
  fields.Number("epochs", config.epochs, 1, 10000);
  fields.Number("steps", config.steps, 0, 1e7);
  fields.Number("batch", config.batch, 1, 65536);
  fields.Number("learning_rate", config.learning_rate, 1e-6, 100);
  fields.Number("momentum", config.momentum, 0, 0.999);
  fields.Number("weight_decay", config.weight_decay, 0, 1);
  fields.Number("alpha", config.alpha, 0, 1);
  fields.Number("temperature", config.temperature, 1, 20);
  fields.Flag("standardize", config.standardize);
  fields.Number("warmup", config.warmup, 0, 1e6);
  fields.Number("clip", config.clip, 1e-6, 1e6);
}

void ReportFineTuned(const FineTuned& outcome, PassReport& report) {
  char text[200];
  std::snprintf(text, sizeof(text),
                "%zu parameters, %zu steps, learning rate %.4g, attempt %u, loss %.3f -> %.3f",
                outcome.parameters.size(), outcome.steps, outcome.learning_rate, outcome.attempts,
                outcome.loss_first, outcome.loss_last);
  report.summary = text;
  report.figures = {{"steps", static_cast<double>(outcome.steps)},
                    {"attempts", static_cast<double>(outcome.attempts)},
                    {"learning_rate", outcome.learning_rate},
                    {"loss_first", outcome.loss_first},
                    {"loss_last", outcome.loss_last}};
}

}  // namespace fl::deploy
