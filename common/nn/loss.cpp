#include "fl/common/nn/loss.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "fl/common/base/check.h"

namespace fl::nn {
namespace {

// The logarithm of the sum of exp(logit * scale), and that sum's parts are exp(logit * scale -
// result).
double LogSum(std::span<const float> logits, double scale) {
  double largest = -std::numeric_limits<double>::infinity();
  for (const float logit : logits) largest = std::max(largest, static_cast<double>(logit) * scale);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) * scale - largest);
  return largest + std::log(sum);
}

double Probability(float logit, double scale, double log_sum) {
  return std::exp(static_cast<double>(logit) * scale - log_sum);
}

// A row's mean, and one over its deviation; 0 where all its values are the same.
struct RowScale {
  double mean = 0;
  double factor = 1;
};
RowScale StandardScale(std::span<const float> row) {
  const auto count = static_cast<double>(row.size());
  RowScale scale;
  for (const float value : row) scale.mean += static_cast<double>(value) / count;
  double variance = 0;
  for (const float value : row) {
    const double centred = static_cast<double>(value) - scale.mean;
    variance += centred * centred / count;
  }
  scale.factor = variance > 1e-24 ? 1 / std::sqrt(variance) : 0;
  return scale;
}

// weight * T^2 * KL(teacher || student) of one sample; its derivative is added to `gradient`, which
// may be empty. Softmax does not see a mean, so that standardizing is a temperature of each row's
// own, but for the derivative: with z = (x - mean) f and g = dL/dz, whose mean is 0,
//   dL/dx = f (g - z mean(z g)).
double SoftRow(std::span<const float> logits, std::span<const float> teacher_logits,
               const Distillation& settings, double weight, std::span<float> gradient) {
  const double temperature = static_cast<double>(settings.temperature);
  const RowScale own = settings.standardize ? StandardScale(logits) : RowScale{};
  const RowScale teachers = settings.standardize ? StandardScale(teacher_logits) : RowScale{};
  const double student_scale = own.factor / temperature;
  const double teacher_scale = teachers.factor / temperature;
  const double student_sum = LogSum(logits, student_scale);
  const double teacher_sum = LogSum(teacher_logits, teacher_scale);
  double loss = 0;
  double along = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double log_teacher = static_cast<double>(teacher_logits[i]) * teacher_scale - teacher_sum;
    const double log_student = static_cast<double>(logits[i]) * student_scale - student_sum;
    const double teacher = std::exp(log_teacher);
    loss += weight * temperature * temperature * teacher * (log_teacher - log_student);
    if (gradient.empty()) continue;
    // d KL / d logit = (student - teacher) / T, so T of T^2 stays.
    const double slope = weight * temperature * (std::exp(log_student) - teacher);
    gradient[i] += static_cast<float>(own.factor * slope);
    along += (static_cast<double>(logits[i]) - own.mean) * own.factor * slope;
  }
  if (!settings.standardize || gradient.empty()) return loss;
  along /= static_cast<double>(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double z = (static_cast<double>(logits[i]) - own.mean) * own.factor;
    gradient[i] -= static_cast<float>(own.factor * z * along);
  }
  return loss;
}

}  // namespace

double SoftmaxCrossEntropy(std::span<const float> logits, std::span<const std::int32_t> labels,
                           std::span<float> gradient) {
  FL_CHECK(!labels.empty() && logits.size() % labels.size() == 0,
           "one label for each row of logits");
  FL_CHECK(gradient.empty() || gradient.size() == logits.size(), "a gradient for each logit");
  const std::size_t classes = logits.size() / labels.size();
  const double share = 1.0 / static_cast<double>(labels.size());
  double loss = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const std::span<const float> row = logits.subspan(i * classes, classes);
    const std::size_t label = static_cast<std::size_t>(labels[i]);
    FL_CHECK(label < classes, "a label is below the number of classes");
    const double log_sum = LogSum(row, 1);
    loss += log_sum - static_cast<double>(row[label]);
    for (std::size_t c = 0; !gradient.empty() && c < classes; ++c) {
      const double target = c == label ? 1 : 0;
      gradient[i * classes + c] =
          static_cast<float>((Probability(row[c], 1, log_sum) - target) * share);
    }
  }
  return loss * share;
}

double MeanSquaredError(std::span<const float> outputs, std::span<const float> targets,
                        std::span<float> gradient) {
  FL_CHECK(!outputs.empty() && outputs.size() == targets.size(), "one target for each output");
  FL_CHECK(gradient.empty() || gradient.size() == outputs.size(), "a gradient for each output");
  const double share = 1.0 / static_cast<double>(outputs.size());
  double loss = 0;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const double difference = static_cast<double>(outputs[i]) - static_cast<double>(targets[i]);
    loss += difference * difference;
    if (!gradient.empty()) gradient[i] = static_cast<float>(2 * difference * share);
  }
  return loss * share;
}

double DistillationLoss(std::span<const float> logits, std::span<const float> teacher_logits,
                        std::size_t classes, std::span<const std::int32_t> labels,
                        const Distillation& settings, std::span<float> gradient) {
  FL_CHECK(classes > 0 && !logits.empty() && logits.size() % classes == 0, "rows of logits");
  FL_CHECK(teacher_logits.size() == logits.size(), "teacher logits for each sample");
  const double hard = labels.empty() ? 0 : static_cast<double>(settings.hard_weight);
  const double soft = 1 - static_cast<double>(settings.hard_weight);
  double loss = 0;
  if (!labels.empty()) {
    loss = hard * SoftmaxCrossEntropy(logits, labels, gradient);
    for (float& value : gradient) value = static_cast<float>(hard * static_cast<double>(value));
  } else {
    std::ranges::fill(gradient, 0.0F);
  }
  const double share = static_cast<double>(classes) / static_cast<double>(logits.size());
  for (std::size_t row = 0; row < logits.size(); row += classes) {
    const auto teacher = teacher_logits.subspan(row, classes);
    const auto into = gradient.empty() ? gradient : gradient.subspan(row, classes);
    loss += SoftRow(logits.subspan(row, classes), teacher, settings, soft * share, into);
  }
  return loss;
}

}  // namespace fl::nn
