#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "fl/common/nn/quantized_model.h"
#include "fl/common/nn/weight_grid.h"
#include "fl/compression/deploy/fake_quantize.h"
#include "fl/compression/deploy/fine_tune.h"

namespace fl::deploy {

// Quantization-aware training (Jacob et al. 2018, arXiv:1712.05877): each step computes with the
// values that the integer engine has, to the last bit (EngineValues), and moves the fp32 values
// behind them as if rounding were not there (straight-through estimator). With x = v / s, n and p
// the least and the largest code less the zero, v^ = s round(clamp(x, n, p)):
//   dL/dv = dL/dv^ where n <= x <= p, else 0
//   dL/ds = g sum dL/dv^ * (n where x < n, p where x > p, else round(x) - x)
// The second line is that of learned step size (Esser et al. 2020, arXiv:1902.08153), with
// g = 1 / sqrt(N Q): N the values that share a step (of an activation: those of one sample), Q the
// codes on the longer side of the zero, or all of them less one where they are asymmetric.
struct QuantizationTrainingConfig {
  // Share of the steps in which activations' ranges follow what flows, in [0, 1]: the moving
  // average m <- (1 - c) m + c x of each batch's extremes. Weights that do not learn their steps
  // are fitted anew every 20 steps of it. Then ranges and grids stay or, learned, move by gradient.
  double observe = 0.4;
  double moving_share = 0.01;  // c, in (0, 1].
  bool learned = true;         // Steps are learned: of weights throughout, of activations after
                               // the observation.
  double momentum = 0.9;       // Of the steps' gradients.
  double clip = 1.0;           // Largest L2 norm of all steps' gradient.
  std::uint32_t warmup = 50;   // Steps of training in which the steps' learning rate rises.
};

// The straight-through hook of FineTune. A ReLU passes no gradient to what it has cut off or what
// rounds to its zero. Thread safety: distinct objects safe.
class QuantizationTraining final : public FineTuneHook, private nn::TrainingHook {
 public:
  // `graph` outlives this object and has integer forms only (no batch norm). `parameters` and
  // `ranges` (one for each node, as observed in fp32) are where every attempt starts from; `specs`
  // has one entry for each node. kInvalidArgument, kNotFinite: specs or weights (FitWeightGrid),
  // ranges (nn::ScalesOf).
  static Result<QuantizationTraining> Create(const nn::Graph& graph,
                                             std::span<const float> parameters,
                                             std::vector<nn::ActivationRange> ranges,
                                             std::span<const nn::WeightSpec> specs,
                                             const QuantizationTrainingConfig& config);

  // As the last step left them: what nn::Quantize takes.
  nn::WeightGrids Grids() const;
  const std::vector<nn::ActivationScale>& scales() const { return scales_; }

  nn::TrainingHook* inner() override { return this; }
  void Begin() override;
  void Feed(const FineTuneStep& step, std::span<float> inputs) override;
  void Transform(const FineTuneStep& step, std::span<float> used) override;
  double Adjust(const FineTuneStep& step, std::span<const float> used,
                std::span<const float> outputs, std::span<float> gradient) override;
  void Stepped(const FineTuneStep& step, std::span<float> parameters) override;

 private:
  // A step that is learned, or several that are alike. Moves by momentum, at most by a factor of 16
  // away from where it started.
  struct LearnedSteps {
    std::vector<float> value;
    std::vector<float> start;
    std::vector<double> gradient;
    std::vector<double> velocity;
    double factor = 1;  // g.
    explicit LearnedSteps(std::vector<float> values, double g);
    void Move(double rate, double momentum, double shrink);
  };
  struct WeightLayer {
    std::size_t node = 0;
    std::size_t offset = 0;  // Of the weight, among the parameters.
    std::size_t count = 0;
    nn::WeightGrid grid;
    nn::WeightGrid first;  // Where attempts start.
    LearnedSteps steps;
  };

  QuantizationTraining(const nn::Graph& graph, std::vector<nn::ActivationRange> ranges,
                       const QuantizationTrainingConfig& config)
      : graph_(graph), config_(config), first_ranges_(std::move(ranges)) {}

  void OnForward(std::size_t node, std::span<float> output) override;
  double OnBackward(std::size_t node, std::span<const float> output,
                    std::span<float> gradient) override;
  bool Observes(const FineTuneStep& step) const;
  void Observe(std::size_t node, std::span<const float> values);
  void TakeScales();
  void Refit(std::span<const float> parameters);
  void RoundBias(const WeightLayer& layer, std::span<float> used) const;
  void RunEngine(const FineTuneStep& step);
  void MoveSteps(double rate);

  const nn::Graph& graph_;
  QuantizationTrainingConfig config_;
  std::vector<nn::ActivationRange> first_ranges_;
  std::vector<nn::ActivationRange> ranges_;  // By node.
  std::vector<nn::ActivationScale> scales_;  // By node.
  std::vector<std::size_t> sources_;         // By node: whose scale it has.
  std::vector<WeightLayer> layers_;
  std::vector<LearnedSteps> activation_steps_;  // By node; one step each.
  std::vector<std::vector<float>> before_;      // By node: outputs before they were rounded.
  std::vector<float> latent_;                   // The parameters of this step,
  std::vector<float> inputs_;                   // its inputs, rounded,
  std::optional<EngineValues> engine_;          // and what they make of them.
  bool observing_ = true;
};

}  // namespace fl::deploy
