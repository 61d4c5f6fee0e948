#include "fl/common/nn/internal/backward_pass.h"

#include <algorithm>
#include <utility>

#include "fl/common/nn/internal/memory_plan.h"

namespace fl::nn::internal {
namespace {

bool IsTrained(const Graph& graph, const Node& node) {
  return std::ranges::any_of(node.parameters, [&graph](std::size_t tensor) {
    return !std::ranges::binary_search(graph.frozen, tensor);
  });
}

// Whether the input's gradient lies where the output's does.
bool SharesGradient(const BackwardRules& rules) {
  return rules.run == nullptr || rules.in_place;
}

}  // namespace

Result<std::unique_ptr<BackwardPass>> BackwardPass::Create(const Graph& graph,
                                                           std::size_t batch_max,
                                                           InstructionSet instruction_set,
                                                           bool input_gradient) {
  FL_TRY(std::unique_ptr<ForwardPass> forward,
         ForwardPass::Create(graph, batch_max, instruction_set, ForwardPass::Mode::kTraining));
  std::unique_ptr<BackwardPass> pass(new BackwardPass(std::move(forward)));
  pass->Plan(input_gradient);
  FL_TRY_OK(pass->Allocate());
  return pass;
}

void BackwardPass::Plan(bool input_gradient) {
  const Graph& graph = forward_->graph();
  const std::size_t count = graph.nodes.size();
  wanted_.assign(count, false);
  readers_.assign(count, 0);
  owners_.resize(count);
  wanted_[0] = input_gradient;
  for (std::size_t i = 1; i < count; ++i) {
    const Node& node = graph.nodes[i];
    wanted_[i] = IsTrained(graph, node) ||
                 std::ranges::any_of(node.inputs, [this](std::size_t j) { return wanted_[j]; });
    for (const std::size_t input : node.inputs) readers_[input] += wanted_[i] ? 1 : 0;
  }
  for (std::size_t i = count; i-- > 0;) owners_[i] = i;
  for (std::size_t i = count; i-- > 1;) {
    const Node& node = graph.nodes[i];
    if (wanted_[i] && readers_[node.inputs[0]] == 1 && SharesGradient(*FindBackward(node.kind)))
      owners_[node.inputs[0]] = owners_[i];
  }
}

// Each owner's place, and the floats of all. Time runs backward: node i's way back is step count -
// i.
std::size_t BackwardPass::PlaceGradients() {
  const Graph& graph = forward_->graph();
  const std::size_t count = graph.nodes.size();
  std::vector<Lifetime> lifetimes(count);
  for (std::size_t i = 0; i < count; ++i)
    lifetimes[i] = {.bytes = 0, .first = count - i, .last = count - i};
  for (std::size_t i = 0; i < count; ++i) {
    if (!wanted_[i] && i + 1 < count) continue;  // The loss writes the last one's in any case.
    Lifetime& own = lifetimes[owners_[i]];
    own.bytes =
        std::max(own.bytes, graph.nodes[i].shape.count() * forward_->batch_max() * sizeof(float));
    own.last = std::max(own.last, count - i);
    for (const std::size_t input : graph.nodes[i].inputs) {
      Lifetime& read = lifetimes[owners_[input]];
      read.first = std::min(read.first, count - i);
    }
  }
  std::size_t bytes = 0;
  places_ = PlanMemory(lifetimes, bytes);
  for (std::size_t& place : places_) place /= sizeof(float);
  return bytes / sizeof(float);
}

Result<> BackwardPass::Allocate() {
  const Graph& graph = forward_->graph();
  const std::size_t batch_max = forward_->batch_max();
  std::size_t scratch = 0;
  std::size_t part = 0;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    const BackwardRules& rules = *FindBackward(node.kind);
    operands_.reserve(node.inputs.size());
    if (wanted_[i] && rules.scratch_floats != nullptr)
      scratch =
          std::max(scratch, rules.scratch_floats(graph, node, batch_max, forward_->kernels()));
    if (readers_[i] > 1) part = std::max(part, node.shape.count() * batch_max);
  }
  written_.assign(graph.nodes.size(), false);
  FL_TRY(gradients_, AlignedBuffer<float>::Allocate(PlaceGradients()));
  FL_TRY(part_, AlignedBuffer<float>::Allocate(part));
  FL_TRY(scratch_, AlignedBuffer<float>::Allocate(scratch));
  return {};
}

bool BackwardPass::HasLoss(const TrainingBatch& batch) const {
  return !batch.labels.empty() || !batch.targets.empty() || !batch.teacher_logits.empty();
}

double BackwardPass::Loss(const TrainingBatch& batch) {
  const Graph& graph = forward_->graph();
  const std::size_t last = graph.nodes.size() - 1;
  const std::size_t count = batch.count * graph.output_shape().count();
  const std::span<const float> outputs(forward_->output(last), count);
  const std::span<float> gradient(GradientAt(last), count);
  written_[last] = true;
  if (!batch.teacher_logits.empty()) {
    return DistillationLoss(outputs, batch.teacher_logits, graph.output_shape().count(),
                            batch.labels, batch.distillation, gradient);
  }
  if (graph.loss == LossKind::kMeanSquaredError)
    return MeanSquaredError(outputs, batch.targets, gradient);
  FL_CHECK(batch.labels.size() == batch.count, "one label for each sample");
  return SoftmaxCrossEntropy(outputs, batch.labels, gradient);
}

// Gives a node its gradient, or adds to what others gave.
void BackwardPass::Hand(std::size_t input, const float* from, std::size_t count) {
  float* to = GradientAt(input);
  if (written_[input]) {
    forward_->kernels().floats.add_scaled(from, 1, count, to);
  } else if (from != to) {
    std::copy_n(from, count, to);
  }
  written_[input] = true;
}

double BackwardPass::RunNode(std::size_t i, const float* parameters, const TrainingBatch& batch,
                             float* gradient) {
  const Graph& graph = forward_->graph();
  const Node& node = graph.nodes[i];
  const BackwardRules& rules = *FindBackward(node.kind);
  const std::size_t count = batch.count * node.shape.count();
  double added = 0;
  const bool computes = rules.run != nullptr;
  if (batch.hook != nullptr && computes && !forward_->IsOverwritten(i)) {
    if (!written_[i]) std::fill_n(GradientAt(i), count, 0.0F);
    written_[i] = true;
    added = batch.hook->OnBackward(i, {forward_->output(i), count}, {GradientAt(i), count});
  }
  if (!written_[i]) {
    for (const std::size_t tensor : node.parameters)
      std::fill_n(gradient + graph.parameters.offset(tensor),
                  graph.parameters[tensor].shape.count(), 0.0F);
    return added;
  }
  operands_.clear();
  for (const std::size_t input : node.inputs) operands_.push_back(forward_->output(input));
  for (std::size_t operand = 0; operand < node.inputs.size(); ++operand) {
    const std::size_t input = node.inputs[operand];
    const std::size_t input_count = batch.count * graph.nodes[input].shape.count();
    const bool shares = SharesGradient(rules);
    float* to = nullptr;
    if (wanted_[input])
      to = shares ? GradientAt(i) : written_[input] ? part_.data() : GradientAt(input);
    if (computes && (to != nullptr || (operand == 0 && !node.parameters.empty()))) {
      rules.run({graph, node, forward_->kernels(), parameters, operands_, forward_->output(i),
                 forward_->state(i), GradientAt(i), operand, to, gradient, batch.count,
                 scratch_.data(), batch.running_statistics});
    }
    if (to != nullptr) Hand(input, to, input_count);
  }
  return added;
}

double BackwardPass::Compute(const float* parameters, const TrainingBatch& batch, float* gradient) {
  const Graph& graph = forward_->graph();
  forward_->Run(parameters, batch.input.data(), batch.count, batch.hook, batch.running_statistics);
  last_batch_ = batch.count;
  measured_ = !batch.running_statistics;
  written_.assign(graph.nodes.size(), false);
  double loss = HasLoss(batch) || batch.hook == nullptr ? Loss(batch) : 0;
  for (std::size_t i = graph.nodes.size(); i-- > 1;) {
    if (wanted_[i]) loss += RunNode(i, parameters, batch, gradient);
  }
  if (!batch.input_gradient.empty()) {
    FL_CHECK(wanted_[0] && batch.input_gradient.size() == batch.input.size(),
             "a training step that was created for the input's gradient");
    if (!written_[0]) std::fill_n(GradientAt(0), batch.input.size(), 0.0F);
    std::copy_n(GradientAt(0), batch.input.size(), batch.input_gradient.data());
  }
  return loss;
}

}  // namespace fl::nn::internal
