#include "fl/common/nn/internal/forward_pass.h"

#include <algorithm>

#include "fl/common/nn/internal/memory_plan.h"
#include "fl/common/nn/internal/pass_arguments.h"
#include "fl/common/nn/kernels/select.h"
#include "fl/common/nn/plain_graph.h"

namespace fl::nn::internal {
namespace {

bool IsProduct(OpKind kind) {
  return kind == OpKind::kDense || kind == OpKind::kConv2d || kind == OpKind::kDepthwise;
}

}  // namespace

ForwardPass::ForwardPass(const Graph& graph, std::size_t batch_max, InstructionSet instruction_set,
                         Mode mode)
    : graph_(graph),
      batch_max_(batch_max),
      instruction_set_(instruction_set),
      kernels_{kernels::FloatKernelsFor(instruction_set),
               kernels::LayerKernelsFor(instruction_set)},
      mode_(mode) {}

Result<std::unique_ptr<ForwardPass>> ForwardPass::Create(const Graph& graph, std::size_t batch_max,
                                                         InstructionSet instruction_set, Mode mode,
                                                         ProductSteps* products) {
  FL_TRY_OK(ExpectSupported(instruction_set, SupportedInstructionSets()));
  FL_TRY_OK(ExpectBatchMax(batch_max));
  FL_TRY_OK(ExpectPlain(graph, "a pass"));
  std::unique_ptr<ForwardPass> pass(new ForwardPass(graph, batch_max, instruction_set, mode));
  pass->products_ = products;
  pass->Plan();
  FL_TRY_OK(pass->Allocate());
  return pass;
}

void ForwardPass::CountReaders() {
  const std::size_t count = graph_.nodes.size();
  needed_.assign(count, mode_ != Mode::kInference);
  needed_.back() = true;
  readers_.assign(count, 0);
  for (std::size_t i = count; i-- > 1;) {
    if (!needed_[i]) continue;
    for (const std::size_t input : graph_.nodes[i].inputs) {
      needed_[input] = true;
      ++readers_[input];
    }
  }
}

// Whether nobody but this node reads what lies where its input does.
bool ForwardPass::MayOverwriteInput(std::size_t node, const ForwardRules& rules) const {
  const bool allowed = rules.in_place == InPlace::kAlways ||
                       (rules.in_place == InPlace::kInInference && mode_ == Mode::kInference);
  std::size_t input = graph_.nodes[node].inputs[0];
  if (!allowed || owners_[input] == 0) return false;
  while (readers_[input] == 1) {
    const bool view = FindForward(graph_.nodes[input].kind)->run == nullptr;
    if (!view) return true;
    input = graph_.nodes[input].inputs[0];
  }
  return false;
}

// The node's input and, where that is a view, what it is a view of.
void ForwardPass::MarkOverwritten(std::size_t node) {
  std::size_t input = graph_.nodes[node].inputs[0];
  overwritten_[input] = true;
  while (FindForward(graph_.nodes[input].kind)->run == nullptr) {
    input = graph_.nodes[input].inputs[0];
    overwritten_[input] = true;
  }
}

void ForwardPass::Plan() {
  CountReaders();
  const std::size_t count = graph_.nodes.size();
  owners_.assign(count, 0);
  overwritten_.assign(count, false);
  for (std::size_t i = 1; i < count; ++i) {
    if (!needed_[i]) continue;
    const Node& node = graph_.nodes[i];
    const std::size_t input = node.inputs[0];
    const ForwardRules& rules = *FindForward(node.kind);
    if (rules.run == nullptr) {
      owners_[i] = owners_[input];
      continue;
    }
    const bool in_place = MayOverwriteInput(i, rules);
    owners_[i] = in_place ? owners_[input] : i;
    if (in_place) MarkOverwritten(i);
    const bool fused = in_place && node.kind == OpKind::kRelu &&
                       IsProduct(graph_.nodes[input].kind) && steps_.back().node == input;
    if (fused) {
      steps_.back().relu = true;
      steps_.back().last = i;
    } else {
      steps_.push_back({&rules, i, i, false});
    }
  }
}

// Each owner's place, and the floats of all.
std::size_t ForwardPass::PlaceValues() {
  const std::size_t count = graph_.nodes.size();
  std::vector<std::size_t> last_use(count, mode_ == Mode::kInference ? 0 : count);
  for (std::size_t i = 1; i < count; ++i) {
    if (!needed_[i]) continue;
    last_use[owners_[i]] = std::max(last_use[owners_[i]], i);
    for (const std::size_t input : graph_.nodes[i].inputs)
      last_use[owners_[input]] = std::max(last_use[owners_[input]], i);
  }
  last_use[owners_.back()] = count;
  std::vector<Lifetime> lifetimes;
  std::vector<std::size_t> owners;
  for (std::size_t i = 1; i < count; ++i) {
    if (!needed_[i] || owners_[i] != i) continue;
    owners.push_back(i);
    lifetimes.push_back({.bytes = graph_.nodes[i].shape.count() * batch_max_ * sizeof(float),
                         .first = i,
                         .last = last_use[i]});
  }
  std::size_t bytes = 0;
  const std::vector<std::size_t> offsets = PlanMemory(lifetimes, bytes);
  places_.assign(count, kNowhere);
  for (std::size_t i = 0; i < owners.size(); ++i) places_[owners[i]] = offsets[i] / sizeof(float);
  return bytes / sizeof(float);
}

Result<> ForwardPass::Allocate() {
  const std::size_t values = PlaceValues();
  FL_TRY(buffer_, AlignedBuffer<float>::Allocate(values));
  std::size_t scratch = 0;
  std::size_t state = 0;
  states_.assign(graph_.nodes.size(), kNowhere);
  for (const Step& step : steps_) {
    const Node& node = graph_.nodes[step.node];
    operands_.reserve(node.inputs.size());
    const bool elsewhere = products_ != nullptr && IsProduct(node.kind);
    if (step.rules->scratch_floats != nullptr && !elsewhere)
      scratch = std::max(scratch, step.rules->scratch_floats(graph_, node, kernels_));
    if (mode_ != Mode::kTraining || step.rules->state_floats == nullptr) continue;
    states_[step.node] = state;
    state += AlignedCount(step.rules->state_floats(node, batch_max_));
  }
  FL_TRY(scratch_, AlignedBuffer<float>::Allocate(scratch));
  FL_TRY(state_, AlignedBuffer<float>::Allocate(state));
  values_.assign(graph_.nodes.size(), nullptr);
  memory_bytes_ = (values + scratch + state) * sizeof(float);
  return {};
}

void ForwardPass::Run(const float* parameters, const float* input, std::size_t batch,
                      TrainingHook* hook, bool running) {
  FL_CHECK(batch >= 1 && batch <= batch_max_, "a batch has 1 to batch_max samples");
  for (std::size_t i = 0; i < values_.size(); ++i) {
    if (needed_[i]) values_[i] = owners_[i] == 0 ? input : buffer_.data() + places_[owners_[i]];
  }
  for (const Step& step : steps_) {
    const Node& node = graph_.nodes[step.node];
    operands_.clear();
    for (const std::size_t operand : node.inputs) operands_.push_back(values_[operand]);
    float* output = buffer_.data() + places_[owners_[step.node]];
    float* state = states_[step.node] == kNowhere ? nullptr : state_.data() + states_[step.node];
    if (products_ != nullptr && IsProduct(node.kind)) {
      products_->RunProduct({step.node, operands_[0], batch, step.relu, output});
    } else {
      step.rules->run({graph_, node, kernels_, parameters, operands_, output, batch,
                       scratch_.data(), state, step.relu, running});
    }
    if (hook != nullptr && !overwritten_[step.last])
      hook->OnForward(step.last, {output, batch * node.shape.count()});
  }
}

}  // namespace fl::nn::internal
