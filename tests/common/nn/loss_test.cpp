#include "fl/common/nn/loss.h"

#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include "fl/common/random/rng_stream.h"

namespace fl::nn {
namespace {

constexpr std::size_t kClasses = 5;

std::vector<float> RandomLogits(std::uint64_t seed) {
  std::vector<float> logits(3 * kClasses);
  RngStream(seed).FillNormal(logits);
  for (float& value : logits) value *= 3.0F;
  return logits;
}

TEST_CASE("DistillationLoss: the gradient is the loss's slope, standardized or not") {
  const std::vector<float> teacher = RandomLogits(1);
  const std::vector<std::int32_t> labels = {4, 0, 2};
  for (const bool standardize : {false, true}) {
    const Distillation settings{.temperature = 2, .hard_weight = 0.25F, .standardize = standardize};
    std::vector<float> logits = RandomLogits(2);
    std::vector<float> gradient(logits.size());
    DistillationLoss(logits, teacher, kClasses, labels, settings, gradient);
    for (std::size_t i = 0; i < logits.size(); ++i) {
      constexpr float kStep = 1e-2F;
      const float before = logits[i];
      logits[i] = before + kStep;
      const double above = DistillationLoss(logits, teacher, kClasses, labels, settings, {});
      logits[i] = before - kStep;
      const double below = DistillationLoss(logits, teacher, kClasses, labels, settings, {});
      logits[i] = before;
      // Rounding of a step of 0.01 to fp32 and its third power: 1e-4 about.
      CHECK(static_cast<double>(gradient[i]) ==
            doctest::Approx((above - below) / 0.02).epsilon(2e-3).scale(1));
    }
  }
}

TEST_CASE("DistillationLoss: standardized logits see neither shift nor scale") {
  const std::vector<float> teacher = RandomLogits(1);
  std::vector<float> logits(teacher);
  for (float& value : logits) value = 0.25F * value + 7.0F;
  const Distillation plain{.temperature = 2, .hard_weight = 0, .standardize = false};
  const Distillation standard{.temperature = 2, .hard_weight = 0, .standardize = true};
  CHECK(DistillationLoss(logits, teacher, kClasses, {}, plain, {}) > 0.1);
  CHECK(DistillationLoss(logits, teacher, kClasses, {}, standard, {}) ==
        doctest::Approx(0).epsilon(1e-6).scale(1));
}

TEST_CASE("DistillationLoss: a constant row counts as zeros and moves nothing") {
  const std::vector<float> teacher = RandomLogits(1);
  const std::vector<float> logits(teacher.size(), 3.0F);
  std::vector<float> gradient(logits.size());
  const Distillation standard{.temperature = 2, .hard_weight = 0, .standardize = true};
  const double loss = DistillationLoss(logits, teacher, kClasses, {}, standard, gradient);
  CHECK(std::isfinite(loss));
  CHECK(loss > 0);
  for (const float value : gradient) CHECK(value == 0.0F);
}

}  // namespace
}  // namespace fl::nn
