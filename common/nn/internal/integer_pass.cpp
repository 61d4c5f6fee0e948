#include "fl/common/nn/internal/integer_pass.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "fl/common/base/check.h"
#include "fl/common/nn/internal/pass_arguments.h"
#include "fl/common/nn/kernels/select.h"

namespace fl::nn::internal {
namespace {

using kernels::kIntegerSlack;

bool IsView(OpKind kind) {
  return kind == OpKind::kFlatten || kind == OpKind::kReshape;
}

bool IsClamp(OpKind kind) {
  return kind == OpKind::kRelu || kind == OpKind::kRelu6;
}

// Whether a step rounds its outputs, so that it can clamp them further.
bool Rounds(OpKind kind) {
  return kind != OpKind::kInput && kind != OpKind::kMaxPool && !IsView(kind);
}

// A pool of 2x2 without padding, which a convolution takes in.
bool IsPoolOfFour(const Graph& graph, const Node& node) {
  if (node.kind != OpKind::kMaxPool) return false;
  const Window window = WindowOf(graph, node);
  return window.kernel_height == 2 && window.kernel_width == 2 && window.stride == 2 &&
         !window.needs_padding();
}

}  // namespace

// Turns a graph into steps.
class IntegerCompiler {
 public:
  IntegerCompiler(const QuantizedModel& model, const kernels::IntegerKernels& kernels,
                  IntegerPass& pass)
      : model_(model), graph_(model.graph), kernels_(kernels), pass_(pass) {}

  Result<> Compile() {
    FindReaders();
    values_.resize(graph_.nodes.size());
    lives_.push_back({.bytes = BytesOf(0), .first = 0, .last = 0});
    const std::size_t last = graph_.nodes.size() - 1;
    for (std::size_t i = 1; i <= last; ++i) {
      if (readers_[i].empty() && i != last && !Observes()) continue;
      if (taken_[i]) continue;
      if (IsView(graph_.nodes[i].kind)) {
        values_[i] = values_[graph_.nodes[i].inputs[0]];
        continue;
      }
      FL_TRY_OK(AddStep(i));
    }
    for (std::size_t value = 0; value < lives_.size(); ++value) {
      if (value == values_[last] || Observes()) lives_[value].last = pass_.steps_.size() + 1;
    }
    return PlaceAll();
  }

 private:
  bool Observes() const { return pass_.mode_ == IntegerPass::Mode::kObserve; }

  // Who reads a node, among those that the output needs.
  void FindReaders() {
    readers_.resize(graph_.nodes.size());
    taken_.resize(graph_.nodes.size());
    for (std::size_t i = graph_.nodes.size(); i-- > 1;) {
      if (readers_[i].empty() && i + 1 != graph_.nodes.size() && !Observes()) continue;
      for (const std::size_t input : graph_.nodes[i].inputs) readers_[input].push_back(i);
    }
  }

  std::size_t BytesOf(std::size_t node) const {
    return graph_.nodes[node].shape.count() * pass_.batch_max_ + kIntegerSlack;
  }

  // Step n reads and writes in step n + 1 of the memory plan; step 0 quantizes the input.
  Result<> AddStep(std::size_t i) {
    StepSource source = {.model = model_,
                         .kernels = kernels_,
                         .node = i,
                         .low = static_cast<float>(-128 - model_.activations[i].zero_point),
                         .high = static_cast<float>(127 - model_.activations[i].zero_point),
                         .batch_max = pass_.batch_max_};
    const OpKind kind = graph_.nodes[i].kind;
    source.yields_floats =
        i + 1 == graph_.nodes.size() && (kind == OpKind::kDense || kind == OpKind::kConv2d);
    if (IsClamp(kind)) TakeClamp(i, source);
    const std::size_t yielded = TakeReaders(i, source);
    IntegerPass::PlacedStep placed;
    FL_TRY(placed.step, MakeStep(source));
    const std::size_t now = pass_.steps_.size() + 1;
    for (const std::size_t input : graph_.nodes[i].inputs) {
      placed.values.push_back(values_[input]);
      lives_[values_[input]].last = now;
    }
    placed.value = lives_.size();
    values_[yielded] = placed.value;
    lives_.push_back({.bytes = BytesOf(yielded), .first = now, .last = now});
    pass_.yields_floats_ = source.yields_floats;
    pass_.steps_.push_back(std::move(placed));
    return {};
  }

  // Fuses what follows a step and nobody else waits for; returns the node whose values it yields.
  std::size_t TakeReaders(std::size_t i, StepSource& source) {
    std::size_t yielded = i;
    while (readers_[yielded].size() == 1 && !Observes()) {
      const std::size_t reader = readers_[yielded][0];
      const Node& node = graph_.nodes[reader];
      if (IsClamp(node.kind) && Rounds(graph_.nodes[i].kind)) {
        TakeClamp(reader, source);
      } else if (graph_.nodes[i].kind == OpKind::kConv2d && !source.pooled &&
                 IsPoolOfFour(graph_, node)) {
        source.pooled = true;
      } else {
        break;
      }
      taken_[reader] = true;
      yielded = reader;
    }
    return yielded;
  }

  // Scale and zero point of a clamp are those of what it clamps.
  void TakeClamp(std::size_t i, StepSource& source) const {
    source.low = std::max(source.low, 0.0F);
    if (graph_.nodes[i].kind == OpKind::kRelu6) {
      const double six = 6 / static_cast<double>(model_.activations[i].scale);
      source.high = std::min(source.high, static_cast<float>(std::nearbyint(std::min(six, 255.0))));
    }
  }

  static StepResult MakeStep(const StepSource& source) {
    switch (source.at().kind) {
      case OpKind::kDense:
      case OpKind::kConv2d:
        return MakeProductStep(source);
      case OpKind::kDepthwise:
        return MakeDepthwiseStep(source);
      case OpKind::kMaxPool:
        return MakeMaxPoolStep(source);
      case OpKind::kAvgPool:
      case OpKind::kGlobalAvgPool:
        return MakeAvgPoolStep(source);
      case OpKind::kRelu:
      case OpKind::kRelu6:
        return MakeClampStep(source);
      case OpKind::kHardSwish:
      case OpKind::kSigmoid:
      case OpKind::kTanh:
        return MakeTableStep(source);
      case OpKind::kAdd:
      case OpKind::kMultiply:
        return MakeCombineStep(source);
      case OpKind::kConcat:
        return MakeConcatStep(source);
      case OpKind::kLayerNorm:
        return MakeLayerNormStep(source);
      default:
        CheckFailed("IntegerCompiler", "an operator that a valid model has not");
    }
  }

  Result<> PlaceAll() {
    const std::size_t count = lives_.size();
    for (std::size_t s = 0; s < pass_.steps_.size(); ++s) {
      const std::size_t bytes = pass_.steps_[s].step->scratch_bytes();
      lives_.push_back({.bytes = bytes, .first = s + 1, .last = s + 1});
    }
    const std::vector<std::size_t> offsets = PlanMemory(lives_, pass_.arena_bytes_);
    FL_TRY(pass_.arena_, AlignedBuffer<std::uint8_t>::Allocate(pass_.arena_bytes_));
    for (std::size_t s = 0; s < pass_.steps_.size(); ++s) {
      IntegerPass::PlacedStep& placed = pass_.steps_[s];
      for (const std::size_t value : placed.values) {
        placed.inputs.push_back(pass_.arena_.data() + offsets[value]);
      }
      placed.output = offsets[placed.value];
      placed.scratch = offsets[count + s];
    }
    for (const std::size_t value : values_) pass_.offsets_.push_back(offsets[value]);
    return {};
  }

  const QuantizedModel& model_;
  const Graph& graph_;
  const kernels::IntegerKernels& kernels_;
  IntegerPass& pass_;
  std::vector<std::vector<std::size_t>> readers_;  // By node.
  std::vector<bool> taken_;                        // Fused into a step before it.
  std::vector<std::size_t> values_;                // By node: which value it is.
  std::vector<Lifetime> lives_;                    // By value, then of the steps' scratch.
};

Result<std::unique_ptr<IntegerPass>> IntegerPass::Create(const QuantizedModel& model,
                                                         std::size_t batch_max,
                                                         IntegerInstructionSet instruction_set,
                                                         Mode mode) {
  FL_TRY_OK(model.Validate());
  FL_TRY_OK(ExpectSupported(instruction_set, SupportedIntegerInstructionSets()));
  FL_TRY_OK(ExpectBatchMax(batch_max));
  std::unique_ptr<IntegerPass> pass(new IntegerPass(model, batch_max, mode));
  pass->kernels_ = &kernels::IntegerKernelsFor(instruction_set);
  FL_TRY_OK(IntegerCompiler(model, *pass->kernels_, *pass).Compile());
  return pass;
}

void IntegerPass::Run(const float* input, std::size_t batch, float* output) {
  std::uint8_t* arena = arena_.data();
  kernels_->quantize(input, batch * graph_.input_shape().count(), scales_.front().scale,
                     scales_.front().zero_point + kernels_->offset, arena + offsets_.front());
  for (const PlacedStep& placed : steps_) {
    placed.step->Run({.inputs = placed.inputs,
                      .output = arena + placed.output,
                      .result = output,
                      .scratch = arena + placed.scratch,
                      .batch = batch});
  }
  if (yields_floats_) return;
  Expand(offsets_.back(), scales_.back(), batch * graph_.output_shape().count(), output);
}

void IntegerPass::Read(std::size_t node, std::size_t count, float* values) const {
  FL_CHECK(mode_ == Mode::kObserve && !(yields_floats_ && node + 1 == graph_.nodes.size()),
           "a node whose values are kept");
  Expand(offsets_[node], scales_[node], count, values);
}

void IntegerPass::Expand(std::size_t offset, const ActivationScale& scale, std::size_t count,
                         float* values) const {
  const std::uint8_t* stored = arena_.data() + offset;
  // Stored as signed bytes or 128 above them: flipping the highest bit makes one the other.
  const std::uint8_t flip = kernels_->offset == 0 ? 0 : 0x80;
  for (std::size_t i = 0; i < count; ++i) {
    const auto q = static_cast<std::int8_t>(stored[i] ^ flip);
    values[i] = scale.scale * static_cast<float>(std::int32_t{q} - scale.zero_point);
  }
}

}  // namespace fl::nn::internal
