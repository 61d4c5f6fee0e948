#include "fl/client/deploy/personalize.h"

#include <cstdio>
#include <utility>

#include "fl/compression/deploy/fine_tune.h"
#include "fl/compression/deploy/gate.h"

namespace fl::client {
namespace {

// Pulls the weights back to where they began.
class ProximalTerm final : public deploy::FineTuneHook {
 public:
  ProximalTerm(std::span<const float> start, double weight) : start_(start), weight_(weight) {}

  double Adjust(const deploy::FineTuneStep&, std::span<const float> used, std::span<const float>,
                std::span<float> gradient) override {
    double squares = 0;
    for (std::size_t i = 0; i < used.size(); ++i) {
      const double distance = static_cast<double>(used[i]) - static_cast<double>(start_[i]);
      gradient[i] += static_cast<float>(weight_ * distance);
      squares += distance * distance;
    }
    return weight_ / 2 * squares;
  }

 private:
  std::span<const float> start_;
  double weight_;
};

}  // namespace

Result<Personalized> Personalize(const PersonalizeConfig& config, nn::FloatModel global,
                                 const LocalData& data, const RngStream& rng,
                                 const std::atomic<bool>& stop) {
  deploy::FineTuneConfig training;
  training.steps = config.steps;
  training.batch = config.batch;
  training.learning_rate = config.learning_rate;
  training.warmup = config.steps / 10;
  const deploy::MaskMap no_masks;
  ProximalTerm proximal(global.parameters, config.proximal);
  FL_TRY(deploy::FineTuned tuned, deploy::FineTune(training, {.graph = global.graph,
                                                              .start = global.parameters,
                                                              .masks = no_masks,
                                                              .teacher = std::nullopt,
                                                              .training = data.training,
                                                              .rng = rng,
                                                              .stop = stop,
                                                              .hook = &proximal,
                                                              .running_statistics = true}));
  Personalized outcome;
  FL_TRY(outcome.global_accuracy, deploy::Accuracy(global.graph, global.parameters, data.holdout));
  if (tuned.converged) {
    FL_TRY(outcome.personal_accuracy,
           deploy::Accuracy(global.graph, tuned.parameters, data.holdout));
  }
  outcome.kept = outcome.personal_accuracy > outcome.global_accuracy;
  outcome.model = std::move(global);
  if (outcome.kept) outcome.model.parameters = std::move(tuned.parameters);
  char text[160];
  std::snprintf(text, sizeof(text),
                "personalize: %zu steps, accuracy on the hold-out %.2f %% -> %.2f %%: %s",
                tuned.steps, 100 * outcome.global_accuracy, 100 * outcome.personal_accuracy,
                outcome.kept ? "kept" : "not kept");
  outcome.line = text;
  return outcome;
}

}  // namespace fl::client
