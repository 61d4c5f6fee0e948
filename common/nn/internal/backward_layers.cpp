// The way back over norms, functions of one value, and operators of several operands.
#include <algorithm>
#include <cmath>

#include "fl/common/nn/internal/backward.h"

namespace fl::nn::internal {
namespace {

std::size_t RowsOf(const BackwardCall& call) {
  return call.batch * call.node.shape.count() / ChannelsOf(call.node);
}

std::size_t CountOf(const BackwardCall& call) {
  return call.batch * call.node.shape.count();
}

void ZeroGradient(const BackwardCall& call, std::size_t i) {
  std::fill_n(GradientOf(call, i), ChannelsOf(call.node), 0.0F);
}

std::size_t BatchNormScratch(const Graph& /*graph*/, const Node& node, std::size_t /*batch*/,
                             const KernelSet& /*kernels*/) {
  return 2 * ChannelsOf(node);
}

// With n values a channel, s = 1 / sqrt(variance + epsilon) and x centred:
//   dx = gamma s (dy - mean(dy) - x s^2 mean(dy x)).
void BatchNormBackward(const BackwardCall& call) {
  const std::size_t channels = ChannelsOf(call.node);
  const std::size_t rows = RowsOf(call);
  const float* mean = call.state;
  const float* variance = mean + channels;
  const float* scale = variance + channels;  // gamma s.
  float* gamma_gradient = GradientOf(call, 0);
  float* beta_gradient = GradientOf(call, 1);
  ZeroGradient(call, 0);
  ZeroGradient(call, 1);
  call.kernels.floats.add_columns(call.output_gradient, rows, channels, beta_gradient);
  call.kernels.layers.add_centered({.x = call.input(),
                                    .mean = mean,
                                    .factor = call.output_gradient,
                                    .rows = rows,
                                    .columns = channels,
                                    .sums = gamma_gradient});
  float* slope = call.scratch;
  float* shift = slope + channels;
  // Statistics that do not follow the batch are constants: nothing flows back through them.
  const float share = call.running ? 0.0F : 1.0F / static_cast<float>(rows);
  for (std::size_t c = 0; c < channels; ++c) {
    const float inverse = 1.0F / std::sqrt(std::max(variance[c], 0.0F) + kNormEpsilon);
    slope[c] = -scale[c] * inverse * inverse * gamma_gradient[c] * share;
    shift[c] = -scale[c] * beta_gradient[c] * share - slope[c] * mean[c];
    gamma_gradient[c] *= inverse;
  }
  if (call.input_gradient == nullptr) return;
  call.kernels.layers.affine({.in = call.output_gradient,
                              .scale = scale,
                              .shift = shift,
                              .x = call.input(),
                              .slope = slope,
                              .rows = rows,
                              .columns = channels,
                              .out = call.input_gradient});
}

void LayerNormBackward(const BackwardCall& call) {
  ZeroGradient(call, 0);
  ZeroGradient(call, 1);
  call.kernels.layers.normalize_rows_backward(
      {.input = call.input(),
       .moments = call.state,
       .gamma = ParameterOf(call.graph, call.node, 0, call.parameters),
       .output_gradient = call.output_gradient,
       .rows = RowsOf(call),
       .columns = ChannelsOf(call.node),
       .gamma_gradient = GradientOf(call, 0),
       .beta_gradient = GradientOf(call, 1),
       .input_gradient = call.input_gradient});
}

void ReluBackward(const BackwardCall& call) {
  call.kernels.floats.relu_backward(call.output, CountOf(call), call.output_gradient);
}
void Unary(const kernels::UnaryKernels& kernels, const BackwardCall& call) {
  kernels.backward(call.input(), call.output, CountOf(call), call.output_gradient);
}
void Relu6Backward(const BackwardCall& call) {
  Unary(call.kernels.layers.relu6, call);
}
void HardSwishBackward(const BackwardCall& call) {
  Unary(call.kernels.layers.hard_swish, call);
}
void SigmoidBackward(const BackwardCall& call) {
  Unary(call.kernels.layers.sigmoid, call);
}
void TanhBackward(const BackwardCall& call) {
  Unary(call.kernels.layers.tanh, call);
}

void AddBackward(const BackwardCall& call) {
  if (call.input_gradient != nullptr)
    std::copy_n(call.output_gradient, CountOf(call), call.input_gradient);
}

// The output's gradient times all operands but the one at hand; summed over the image where that is
// a vector of channels.
void MultiplyBackward(const BackwardCall& call) {
  if (call.input_gradient == nullptr) return;
  const std::size_t channels = ChannelsOf(call.node);
  const std::size_t count = call.node.shape.count();
  const auto is_vector = [&](std::size_t operand) {
    return call.graph.nodes[call.node.inputs[operand]].shape != call.node.shape;
  };
  const bool vector = is_vector(call.operand);
  if (vector) std::fill_n(call.input_gradient, call.batch * channels, 0.0F);
  for (std::size_t i = 0; i < call.batch; ++i) {
    for (std::size_t at = 0; at < count; at += channels) {
      float* product = vector ? call.scratch : call.input_gradient + i * count + at;
      std::copy_n(call.output_gradient + i * count + at, channels, product);
      for (std::size_t other = 0; other < call.operands.size(); ++other) {
        if (other == call.operand) continue;
        const float* factors =
            call.operands[other] + (is_vector(other) ? i * channels : i * count + at);
        call.kernels.layers.multiply(product, factors, channels, product);
      }
      if (vector)
        call.kernels.floats.add_scaled(product, 1, channels, call.input_gradient + i * channels);
    }
  }
}

std::size_t MultiplyScratch(const Graph& /*graph*/, const Node& node, std::size_t /*batch*/,
                            const KernelSet& /*kernels*/) {
  return ChannelsOf(node);
}

void ConcatBackward(const BackwardCall& call) {
  if (call.input_gradient == nullptr) return;
  const std::size_t channels = ChannelsOf(call.node);
  std::size_t first = 0;
  for (std::size_t i = 0; i < call.operand; ++i)
    first += ChannelsOf(call.graph.nodes[call.node.inputs[i]]);
  const std::size_t width = ChannelsOf(call.graph.nodes[call.node.inputs[call.operand]]);
  for (std::size_t row = 0; row < RowsOf(call); ++row) {
    std::copy_n(call.output_gradient + row * channels + first, width,
                call.input_gradient + row * width);
  }
}

constexpr BackwardRules kBatchNorm = {BatchNormBackward, BatchNormScratch, false};
constexpr BackwardRules kLayerNorm = {LayerNormBackward, nullptr, false};
constexpr BackwardRules kRelu = {ReluBackward, nullptr, true};
constexpr BackwardRules kRelu6 = {Relu6Backward, nullptr, true};
constexpr BackwardRules kHardSwish = {HardSwishBackward, nullptr, true};
constexpr BackwardRules kSigmoid = {SigmoidBackward, nullptr, true};
constexpr BackwardRules kTanh = {TanhBackward, nullptr, true};
constexpr BackwardRules kAdd = {AddBackward, nullptr, false};
constexpr BackwardRules kMultiply = {MultiplyBackward, MultiplyScratch, false};
constexpr BackwardRules kConcat = {ConcatBackward, nullptr, false};

}  // namespace

const BackwardRules* FindLayerBackward(OpKind kind) {
  switch (kind) {
    case OpKind::kBatchNorm:
      return &kBatchNorm;
    case OpKind::kLayerNorm:
      return &kLayerNorm;
    case OpKind::kRelu:
      return &kRelu;
    case OpKind::kRelu6:
      return &kRelu6;
    case OpKind::kHardSwish:
      return &kHardSwish;
    case OpKind::kSigmoid:
      return &kSigmoid;
    case OpKind::kTanh:
      return &kTanh;
    case OpKind::kAdd:
      return &kAdd;
    case OpKind::kMultiply:
      return &kMultiply;
    case OpKind::kConcat:
      return &kConcat;
    default:
      return nullptr;
  }
}

}  // namespace fl::nn::internal
