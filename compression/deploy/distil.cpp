#include "fl/compression/deploy/distil.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "fl/common/nn/gradient.h"
#include "fl/common/nn/initialize.h"
#include "fl/common/nn/optimizer.h"
#include "fl/common/nn/session.h"

namespace fl::deploy {
namespace {

constexpr unsigned kAttemptsMax = 4;

// What a student learns from: every sample, its label and the teacher's logits, in the subset's
// order.
struct Lesson {
  std::vector<float> input;
  std::vector<std::int32_t> labels;
  std::vector<float> logits;
  std::size_t features = 0;
  std::size_t classes = 0;

  std::size_t count() const { return labels.size(); }
};

Result<Lesson> Prepare(const Teacher& teacher, const data::Subset& training) {
  Lesson lesson;
  lesson.features = training.dataset().features();
  lesson.classes = teacher.graph.output_shape().count();
  lesson.input.resize(training.count() * lesson.features);
  lesson.logits.resize(training.count() * lesson.classes);
  for (std::size_t i = 0; i < training.count(); ++i) {
    training.CopySample(i, std::span(lesson.input).subspan(i * lesson.features, lesson.features));
    lesson.labels.push_back(training.label(i));
  }
  constexpr std::size_t kBatch = 64;
  FL_TRY(nn::Session session, nn::Session::Create(teacher.graph, kBatch));
  for (std::size_t i = 0; i < lesson.count(); i += kBatch) {
    const std::size_t size = std::min(kBatch, lesson.count() - i);
    session.Run(teacher.parameters,
                std::span(lesson.input).subspan(i * lesson.features, size * lesson.features), size,
                std::span(lesson.logits).subspan(i * lesson.classes, size * lesson.classes));
  }
  return lesson;
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
        logits_(batch_ * lesson.classes) {
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
      std::copy_n(lesson_.logits.begin() + Offset(sample * lesson_.classes), lesson_.classes,
                  logits_.begin() + Offset(i * lesson_.classes));
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

std::size_t StepsOf(const DistilConfig& config, std::size_t samples) {
  if (config.steps > 0) return config.steps;
  return std::size_t{config.epochs} *
         std::max<std::size_t>(1, samples / std::min<std::size_t>(config.batch, samples));
}

nn::SgdConfig SgdOf(const DistilConfig& config, double learning_rate, std::uint32_t warm_up_steps) {
  nn::SgdConfig sgd;
  sgd.learning_rate = learning_rate;
  sgd.momentum = config.momentum;
  sgd.gradient_clip = config.clip;
  sgd.warm_up_steps = warm_up_steps;
  return sgd;
}

// One run of all steps from the start that student.parameters holds.
Result<> Attempt(const DistilConfig& config, const Lesson& lesson, const RngStream& rng,
                 const std::atomic<bool>& stop, DistilledStudent& student) {
  Dealer dealer(lesson, config.batch, rng.Child("order"));
  FL_TRY(nn::TrainingStep step, nn::TrainingStep::Create(config.student, dealer.batch()));
  nn::Sgd sgd(SgdOf(config, student.learning_rate, config.warmup), student.parameters.size());
  std::vector<float> gradient(student.parameters.size());
  const nn::Distillation settings{.temperature = static_cast<float>(config.temperature),
                                  .hard_weight = static_cast<float>(config.alpha)};
  const std::size_t tenth = std::max<std::size_t>(1, student.steps / 10);
  double first = 0;
  double last = 0;
  for (std::size_t i = 0; i < student.steps; ++i) {
    if (stop.load(std::memory_order_relaxed))
      return Error{ErrorCode::kUnavailable, "distil: stopped"};
    if (i == student.steps - student.steps / 4)
      sgd = nn::Sgd(SgdOf(config, 0.1 * student.learning_rate, 0), gradient.size());
    const double loss = step.Compute(student.parameters, dealer.Next(settings), gradient);
    if (i < tenth) first += loss;
    if (i + tenth >= student.steps) last += loss;
    if (!std::isfinite(loss)) {
      last = loss;
      break;
    }
    sgd.Step(gradient, {}, student.parameters);
  }
  student.loss_first = first / static_cast<double>(tenth);
  student.loss_last = last / static_cast<double>(tenth);
  student.converged = student.loss_last < 0.9 * student.loss_first && AllFinite(student.parameters);
  return {};
}

}  // namespace

Result<DistilledStudent> Distil(const DistilConfig& config, const Teacher& teacher,
                                const data::Subset& training, const RngStream& rng,
                                const std::atomic<bool>& stop) {
  if (training.empty())
    return Error{ErrorCode::kInvalidArgument, "distil: expected training samples, found none"};
  FL_TRY(const Lesson lesson, Prepare(teacher, training));
  DistilledStudent student;
  student.steps = StepsOf(config, training.count());
  student.learning_rate = config.learning_rate;
  for (student.attempts = 1;; ++student.attempts) {
    const RngStream attempt = rng.Child("attempt", student.attempts);
    student.parameters =
        config.layers.empty()
            ? std::vector<float>(teacher.parameters.begin(), teacher.parameters.end())
            : nn::InitializeParameters(config.student, attempt.Child("start")).values;
    FL_TRY_OK(Attempt(config, lesson, attempt, stop, student));
    // The teacher going on from where it is has little to gain, so that a loss that stays is no
    // failure.
    if (config.layers.empty() && AllFinite(student.parameters)) student.converged = true;
    if (student.converged || student.attempts == kAttemptsMax) return student;
    student.learning_rate /= 2;
  }
}

}  // namespace fl::deploy
