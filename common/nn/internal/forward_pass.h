#pragma once

#include <memory>
#include <vector>

#include "fl/common/nn/graph.h"
#include "fl/common/nn/instruction_set.h"
#include "fl/common/nn/internal/aligned_buffer.h"
#include "fl/common/nn/internal/forward.h"
#include "fl/common/nn/training_hook.h"

namespace fl::nn::internal {

// A dense, convolution or depthwise node at work on a batch.
struct ProductCall {
  std::size_t node = 0;
  const float* input = nullptr;
  std::size_t batch = 0;
  bool relu = false;  // The ReLU that follows is part of it.
  float* output = nullptr;
};

// Computes products in another way than by the graph's fp32 parameters.
class ProductSteps {
 public:
  virtual ~ProductSteps() = default;
  virtual void RunProduct(const ProductCall& call) = 0;
};

// A graph compiled into steps over one buffer: a ReLU after a product is part of the product,
// functions of one value work in place where nobody else reads what they overwrite, and flatten is
// its input. Thread safety: distinct objects safe, shared objects unsafe.
class ForwardPass {
 public:
  enum class Mode {
    kInference,  // Only what the last node needs; memory is shared over time.
    kObserve,    // Each node's output stays until the next Run; otherwise as inference.
    kTraining,   // Likewise, with batch statistics and what the way back needs.
  };
  // With `products`, which must outlive the pass, these compute all products; their nodes need no
  // parameters then.
  static Result<std::unique_ptr<ForwardPass>> Create(const Graph& graph, std::size_t batch_max,
                                                     InstructionSet instruction_set, Mode mode,
                                                     ProductSteps* products = nullptr);

  const Graph& graph() const { return graph_; }
  std::size_t batch_max() const { return batch_max_; }
  InstructionSet instruction_set() const { return instruction_set_; }
  const KernelSet& kernels() const { return kernels_; }

  // `input` must live until the outputs are no longer read.
  void Run(const float* parameters, const float* input, std::size_t batch) {
    Run(parameters, input, batch, nullptr, true);
  }
  // `running`: batch norms use the statistics among the parameters, also in training.
  void Run(const float* parameters, const float* input, std::size_t batch, TrainingHook* hook,
           bool running);
  // A node's output after Run (of the last node alone in inference). A node whose memory a later
  // one overwrites in place yields that one's output.
  const float* output(std::size_t node) const { return values_[node]; }
  // What training keeps of a node; null where nothing.
  const float* state(std::size_t node) const {
    return states_[node] == kNowhere ? nullptr : state_.data() + states_[node];
  }
  // Whether a later node's output takes this one's place.
  bool IsOverwritten(std::size_t node) const { return overwritten_[node]; }
  // The bytes of all buffers.
  std::size_t memory_bytes() const { return memory_bytes_; }

 private:
  struct Step {
    const ForwardRules* rules;
    std::size_t node;  // That computes.
    std::size_t last;  // Whose output is then complete: the node, or the ReLU that is part of it.
    bool relu;
  };
  ForwardPass(const Graph& graph, std::size_t batch_max, InstructionSet instruction_set, Mode mode);
  void Plan();
  void CountReaders();
  bool MayOverwriteInput(std::size_t node, const ForwardRules& rules) const;
  void MarkOverwritten(std::size_t node);
  std::size_t PlaceValues();
  Result<> Allocate();

  static constexpr std::size_t kNowhere = static_cast<std::size_t>(-1);

  Graph graph_;
  std::size_t batch_max_;
  InstructionSet instruction_set_;
  KernelSet kernels_;
  Mode mode_;
  ProductSteps* products_ = nullptr;
  std::vector<Step> steps_;
  std::vector<bool> needed_;          // By the last node, or all.
  std::vector<std::size_t> readers_;  // How many inputs of needed nodes each node is.
  std::vector<std::size_t> owners_;   // The node whose memory holds each node's output; 0: the
                                      // caller's input.
  std::vector<bool> overwritten_;
  std::vector<std::size_t> places_;     // Of the owners, in the buffer.
  std::vector<std::size_t> states_;     // In state_, or kNowhere.
  std::vector<const float*> values_;    // One for each node, after Run.
  std::vector<const float*> operands_;  // Of the step at hand.
  AlignedBuffer<float> buffer_;
  AlignedBuffer<float> state_;
  AlignedBuffer<float> scratch_;
  std::size_t memory_bytes_ = 0;
};

}  // namespace fl::nn::internal
