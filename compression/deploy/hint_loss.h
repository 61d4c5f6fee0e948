#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/nn/graph.h"
#include "fl/compression/deploy/fine_tune.h"

namespace fl::deploy {

// An inner value of the student that is to say what one of the teacher's says. Names of nodes; a
// product whose ReLU follows is seen behind the ReLU, so that is the node to name.
struct Hint {
  std::string student;
  std::string teacher;
};

enum class HintKind : std::uint8_t {
  // Mean square of A s + b - t over that of t, for each pixel; the 1x1 adaptor (A, b) learns along
  // and is thrown away (Romero et al. 2015, arXiv:1412.6550).
  kMap,
  // Square of the difference of q_s and q_t, with q the sum of squares over channels of each pixel
  // at length 1 (Zagoruyko & Komodakis 2017, arXiv:1612.03928). No adaptor.
  kAttention,
};

struct HintConfig {
  std::vector<Hint> hints;
  HintKind kind = HintKind::kMap;
  double weight = 1;  // Of each hint's loss beside the step's own, > 0.
};

// Adds hints to a FineTune loop of the student. Thread safety: distinct objects safe.
class HintLoss final : public FineTuneHook {
 public:
  // The teacher's spans outlive this object. kNotFound for unknown nodes, kShapeMismatch when two
  // maps have not the same height and width (kAttention of values without pixels likewise).
  static Result<std::unique_ptr<HintLoss>> Create(const HintConfig& config, const Teacher& teacher,
                                                  const nn::Graph& student, std::size_t batch_max);
  ~HintLoss() override;

  nn::TrainingHook* inner() override;
  void Begin() override;
  void Teach(const FineTuneStep& step, std::span<float> logits) override;

  // The mean hint loss of the last step; NaN when a node's value was not shown: it is overwritten
  // by the layer behind it, whose name is the one to give.
  double last() const;

 private:
  class Inner;
  explicit HintLoss(std::unique_ptr<Inner> inner);
  std::unique_ptr<Inner> inner_;
};

}  // namespace fl::deploy
