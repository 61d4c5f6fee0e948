#include "fl/common/nn/internal/forward_pass.h"

#include <algorithm>

#include "fl/common/nn/kernels/select.h"
#include "fl/common/nn/plain_graph.h"

namespace fl::nn::internal {
namespace {

bool IsProduct(OpKind kind) {
  return kind == OpKind::kDense || kind == OpKind::kConv2d;
}

Result<> CheckArguments(std::size_t batch_max, InstructionSet instruction_set) {
  const std::vector<InstructionSet> supported = SupportedInstructionSets();
  if (std::ranges::find(supported, instruction_set) == supported.end()) {
    return Error{ErrorCode::kInvalidArgument,
                 "instruction set: expected one that this processor has, found " +
                     std::string(InstructionSetName(instruction_set))};
  }
  if (batch_max == 0 || batch_max > (std::size_t{1} << 24)) {
    return Error{ErrorCode::kInvalidArgument,
                 "batch_max: expected 1 to 2^24, found " + std::to_string(batch_max)};
  }
  return {};
}

}  // namespace

ForwardPass::ForwardPass(const Graph& graph, std::size_t batch_max, InstructionSet instruction_set)
    : graph_(graph),
      batch_max_(batch_max),
      instruction_set_(instruction_set),
      kernels_(&kernels::FloatKernelsFor(instruction_set)) {}

Result<std::unique_ptr<ForwardPass>> ForwardPass::Create(const Graph& graph, std::size_t batch_max,
                                                         InstructionSet instruction_set,
                                                         Keep keep) {
  FL_TRY_OK(CheckArguments(batch_max, instruction_set));
  FL_TRY_OK(ExpectPlain(graph, "a pass"));
  std::unique_ptr<ForwardPass> pass(new ForwardPass(graph, batch_max, instruction_set));
  FL_TRY_OK(pass->Allocate(keep));
  return pass;
}

std::size_t ForwardPass::Plan(Keep keep) {
  std::size_t largest = 0;
  for (const Node& node : graph_.nodes) {
    largest = std::max(largest, AlignedCount(node.shape.count() * batch_max_));
  }
  places_.assign(graph_.nodes.size(), kExternal);
  std::size_t next = 0;
  for (std::size_t i = 1; i < graph_.nodes.size(); ++i) {
    const Node& node = graph_.nodes[i];
    FL_CHECK(node.inputs.size() == 1 && node.inputs[0] == i - 1, "a graph is a chain of nodes");
    const ForwardRules* rules = FindForward(node.kind);
    const bool in_place = node.kind == OpKind::kRelu && places_[i - 1] != kExternal;
    if (rules->run == nullptr || in_place) {
      places_[i] = places_[i - 1];
    } else {
      places_[i] = next;
      next = keep == Keep::kAll ? next + AlignedCount(node.shape.count() * batch_max_)
                                : largest - next;
    }
    const bool fused = in_place && IsProduct(graph_.nodes[i - 1].kind);
    if (fused)
      steps_.back().relu = true;
    else if (rules->run != nullptr)
      steps_.push_back({rules, i, false});
  }
  return keep == Keep::kAll ? next : 2 * largest;
}

Result<> ForwardPass::Allocate(Keep keep) {
  FL_TRY(buffer_, AlignedBuffer<float>::Allocate(Plan(keep)));
  std::size_t scratch = 0;
  for (const Step& step : steps_) {
    if (step.rules->scratch_floats == nullptr) continue;
    scratch =
        std::max(scratch, step.rules->scratch_floats(graph_, graph_.nodes[step.node], *kernels_));
  }
  FL_TRY(scratch_, AlignedBuffer<float>::Allocate(scratch));
  values_.assign(graph_.nodes.size(), nullptr);
  return {};
}

void ForwardPass::Run(const float* parameters, const float* input, std::size_t batch) {
  FL_CHECK(batch >= 1 && batch <= batch_max_, "a batch has 1 to batch_max samples");
  for (std::size_t i = 0; i < values_.size(); ++i) {
    values_[i] = places_[i] == kExternal ? input : buffer_.data() + places_[i];
  }
  for (const Step& step : steps_) {
    const Node& node = graph_.nodes[step.node];
    step.rules->run({graph_, node, *kernels_, parameters, values_[node.inputs[0]],
                     buffer_.data() + places_[step.node], batch, scratch_.data(), step.relu});
  }
}

}  // namespace fl::nn::internal
