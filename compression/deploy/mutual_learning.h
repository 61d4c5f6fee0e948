#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/nn/graph.h"
#include "fl/compression/deploy/fine_tune.h"

namespace fl::deploy {

// Two networks learn side by side, each from the labels and from the other (Zhang et al. 2018,
// arXiv:1706.00384): on every batch first the one that FineTune trains takes a step with
//   L = alpha * crossentropy + (1 - alpha) * T^2 * KL(peer || self),
// the peer as it is giving the teacher's logits, then the peer takes one with the roles changed.
// In a federation the one is the personal model and the peer the federated one (Shen et al. 2020,
// arXiv:2006.16765). FineTuneInputs::teacher must be set, to what does not matter. The peer's
// batch norms learn along. Thread safety: distinct objects safe.
class MutualLearning final : public FineTuneHook {
 public:
  // The peer trains with `config`'s momentum, clipping, alpha and temperature at each step's
  // learning rate. `own` is the graph that FineTune trains; both graphs outlive this object.
  // kShapeMismatch when inputs or outputs differ.
  static Result<std::unique_ptr<MutualLearning>> Create(const FineTuneConfig& config,
                                                        const nn::Graph& own, const nn::Graph& peer,
                                                        std::span<const float> peer_start);
  ~MutualLearning() override;

  void Begin() override;
  void Teach(const FineTuneStep& step, std::span<float> logits) override;
  void Stepped(const FineTuneStep& step, std::span<float> parameters) override;

  // The peer as it is now.
  std::span<const float> peer() const;

 private:
  struct State;
  explicit MutualLearning(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fl::deploy
