#include "fl/compression/deploy/mutual_learning.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "fl/common/nn/gradient.h"
#include "fl/common/nn/optimizer.h"
#include "fl/common/nn/session.h"

namespace fl::deploy {

struct MutualLearning::State {
  FineTuneConfig config;
  const nn::Graph& peer_graph;
  std::vector<float> start;
  std::vector<float> parameters;  // The peer's.
  nn::Session own;
  nn::Session peer;
  nn::TrainingStep step;  // The peer's.
  std::optional<nn::Sgd> sgd;
  double rate = 0;  // Of sgd.
  std::vector<float> logits;
  std::vector<float> gradient;
};

MutualLearning::MutualLearning(std::unique_ptr<State> state) : state_(std::move(state)) {}
MutualLearning::~MutualLearning() = default;

Result<std::unique_ptr<MutualLearning>> MutualLearning::Create(const FineTuneConfig& config,
                                                               const nn::Graph& own,
                                                               const nn::Graph& peer,
                                                               std::span<const float> peer_start) {
  if (own.input_shape() != peer.input_shape() || own.output_shape() != peer.output_shape()) {
    return Error{ErrorCode::kShapeMismatch, "expected a peer from " + own.input_shape().ToText() +
                                                " to " + own.output_shape().ToText() +
                                                ", found one from " + peer.input_shape().ToText() +
                                                " to " + peer.output_shape().ToText()};
  }
  FL_TRY(nn::Session session, nn::Session::Create(own, config.batch));
  FL_TRY(nn::Session peer_session, nn::Session::Create(peer, config.batch));
  FL_TRY(nn::TrainingStep step, nn::TrainingStep::Create(peer, config.batch));
  const std::vector<float> start(peer_start.begin(), peer_start.end());
  auto state = std::make_unique<State>(State{config,
                                             peer,
                                             start,
                                             start,
                                             std::move(session),
                                             std::move(peer_session),
                                             std::move(step),
                                             {},
                                             0,
                                             std::vector<float>{},
                                             std::vector<float>(start.size())});
  return std::unique_ptr<MutualLearning>(new MutualLearning(std::move(state)));
}

void MutualLearning::Begin() {
  state_->parameters = state_->start;
  state_->sgd.reset();
}

void MutualLearning::Teach(const FineTuneStep& step, std::span<float> logits) {
  state_->peer.Run(state_->parameters, step.batch.input, step.batch.count, logits);
}

void MutualLearning::Stepped(const FineTuneStep& step, std::span<float> parameters) {
  State& state = *state_;
  if (!state.sgd || state.rate != step.learning_rate) {
    nn::SgdConfig sgd;
    sgd.learning_rate = step.learning_rate;
    sgd.momentum = state.config.momentum;
    sgd.gradient_clip = state.config.clip;
    sgd.warm_up_steps = step.step == 0 ? state.config.warmup : 0;
    state.sgd.emplace(sgd, state.peer_graph);
    state.rate = step.learning_rate;
  }
  nn::TrainingBatch batch = step.batch;
  state.logits.resize(batch.count * state.peer_graph.output_shape().count());
  state.own.Run(parameters, batch.input, batch.count, state.logits);
  batch.teacher_logits = state.logits;
  batch.hook = nullptr;
  const double loss = state.step.Compute(state.parameters, batch, state.gradient);
  // A peer that diverges shows in the other's loss, which ends the attempt.
  if (!std::isfinite(loss)) {
    std::ranges::fill(state.parameters, std::nanf(""));
    return;
  }
  state.sgd->Step(state.gradient, {}, state.parameters);
  state.step.UpdateStatistics(state.parameters);
}

std::span<const float> MutualLearning::peer() const {
  return state_->parameters;
}

}  // namespace fl::deploy
