#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/nn/graph.h"
#include "fl/compression/deploy/fine_tune.h"

namespace fl::deploy {

// A graph with heads of its own behind inner nodes: "exit1_pool" (global_avgpool, for images) and
// "exit1" (dense to as many outputs as the graph has), "exit2", ... Inference leaves them out.
struct ExitGraph {
  nn::Graph graph;
  std::vector<std::size_t> heads;  // Indices of the exits' last nodes, in the order asked for.
};

// An exit behind each of the named nodes. kNotFound; kInvalidArgument for the input, the output,
// or a name twice.
Result<ExitGraph> AddExits(const nn::Graph& graph, std::span<const std::string> after);

// The graph and its parameters without the exits that AddExits gave it.
Result<nn::Graph> RemoveExits(const nn::Graph& graph);

// The deepest head teaches the exits, all trained together (Zhang et al. 2019, arXiv:1905.08094):
// to the loss of the output each exit adds
//   0.7 crossentropy(exit, label) + 0.3 T^2 KL(softmax(output / T) || softmax(exit / T)),  T = 3,
// in which the output counts as given. Thread safety: distinct objects safe.
class ExitLoss final : public FineTuneHook, private nn::TrainingHook {
 public:
  // `exits` outlives this object.
  explicit ExitLoss(const ExitGraph& exits) : exits_(exits) {}

  nn::TrainingHook* inner() override { return this; }
  void Teach(const FineTuneStep& step, std::span<float> logits) override;

 private:
  void OnForward(std::size_t node, std::span<float> output) override;
  double OnBackward(std::size_t node, std::span<const float> output,
                    std::span<float> gradient) override;

  const ExitGraph& exits_;
  std::span<const std::int32_t> labels_;
  std::vector<float> deepest_;
};

}  // namespace fl::deploy
