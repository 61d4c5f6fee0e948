// Norms, functions of one value, and operators of several operands.
#include <algorithm>
#include <cmath>

#include "fl/common/nn/internal/forward.h"

namespace fl::nn::internal {
namespace {

std::size_t RowsOf(const Node& node, std::size_t batch) {
  return batch * node.shape.count() / ChannelsOf(node);
}

std::size_t CountOf(const ForwardCall& call) {
  return call.batch * call.node.shape.count();
}

// Mean, variance, and the factor and the summand of each channel.
std::size_t BatchNormState(const Node& node, std::size_t /*batch*/) {
  return 4 * ChannelsOf(node);
}
std::size_t BatchNormScratch(const Graph& /*graph*/, const Node& node,
                             const KernelSet& /*kernels*/) {
  return 4 * ChannelsOf(node);
}

// In training the batch's own mean and variance (Ioffe and Szegedy 2015, arXiv:1502.03167), else
// those among the parameters.
void RunBatchNorm(const ForwardCall& call) {
  const std::size_t channels = ChannelsOf(call.node);
  const std::size_t rows = RowsOf(call.node, call.batch);
  float* mean = call.state != nullptr ? call.state : call.scratch;
  float* variance = mean + channels;
  float* scale = variance + channels;
  float* shift = scale + channels;
  if (call.state != nullptr && !call.running) {
    std::fill_n(mean, 2 * channels, 0.0F);
    call.kernels.floats.add_columns(call.input(), rows, channels, mean);
    call.kernels.floats.scale(1.0F / static_cast<float>(rows), channels, mean);
    call.kernels.layers.add_centered({.x = call.input(),
                                      .mean = mean,
                                      .factor = nullptr,
                                      .rows = rows,
                                      .columns = channels,
                                      .sums = variance});
    call.kernels.floats.scale(1.0F / static_cast<float>(rows), channels, variance);
  } else {
    std::copy_n(ParameterOf(call.graph, call.node, 2, call.parameters), channels, mean);
    std::copy_n(ParameterOf(call.graph, call.node, 3, call.parameters), channels, variance);
  }
  const float* gamma = ParameterOf(call.graph, call.node, 0, call.parameters);
  const float* beta = ParameterOf(call.graph, call.node, 1, call.parameters);
  for (std::size_t c = 0; c < channels; ++c) {
    // A variance that compression made negative counts as none.
    scale[c] = gamma[c] / std::sqrt(std::max(variance[c], 0.0F) + kNormEpsilon);
    shift[c] = beta[c] - mean[c] * scale[c];
  }
  call.kernels.layers.affine({.in = call.input(),
                              .scale = scale,
                              .shift = shift,
                              .rows = rows,
                              .columns = channels,
                              .out = call.output});
}

std::size_t LayerNormState(const Node& node, std::size_t batch) {
  return 2 * RowsOf(node, batch);
}

void RunLayerNorm(const ForwardCall& call) {
  call.kernels.layers.normalize_rows(
      {.input = call.input(),
       .rows = RowsOf(call.node, call.batch),
       .columns = ChannelsOf(call.node),
       .gamma = ParameterOf(call.graph, call.node, 0, call.parameters),
       .beta = ParameterOf(call.graph, call.node, 1, call.parameters),
       .epsilon = kNormEpsilon,
       .moments = call.state,
       .output = call.output});
}

void RunRelu(const ForwardCall& call) {
  call.kernels.floats.relu(call.input(), CountOf(call), call.output);
}
void RunRelu6(const ForwardCall& call) {
  call.kernels.layers.relu6.forward(call.input(), CountOf(call), call.output);
}
void RunHardSwish(const ForwardCall& call) {
  call.kernels.layers.hard_swish.forward(call.input(), CountOf(call), call.output);
}
void RunSigmoid(const ForwardCall& call) {
  call.kernels.layers.sigmoid.forward(call.input(), CountOf(call), call.output);
}
void RunTanh(const ForwardCall& call) {
  call.kernels.layers.tanh.forward(call.input(), CountOf(call), call.output);
}

void RunAdd(const ForwardCall& call) {
  const std::size_t count = CountOf(call);
  if (call.output != call.input()) std::copy_n(call.input(), count, call.output);
  for (const float* operand : call.operands.subspan(1))
    call.kernels.floats.add_scaled(operand, 1, count, call.output);
}

void RunMultiply(const ForwardCall& call) {
  const std::size_t count = CountOf(call);
  const std::size_t channels = ChannelsOf(call.node);
  const float* input = call.input();
  for (std::size_t i = 1; i < call.operands.size(); ++i, input = call.output) {
    const float* operand = call.operands[i];
    if (call.graph.nodes[call.node.inputs[i]].shape == call.node.shape) {
      call.kernels.layers.multiply(input, operand, count, call.output);
      continue;
    }
    for (std::size_t row = 0; row < count / channels; ++row) {
      const float* factors = operand + row * channels / call.node.shape.count() * channels;
      call.kernels.layers.multiply(input + row * channels, factors, channels,
                                   call.output + row * channels);
    }
  }
}

void RunConcat(const ForwardCall& call) {
  const std::size_t channels = ChannelsOf(call.node);
  const std::size_t rows = RowsOf(call.node, call.batch);
  std::size_t first = 0;
  for (std::size_t i = 0; i < call.operands.size(); ++i) {
    const std::size_t width = ChannelsOf(call.graph.nodes[call.node.inputs[i]]);
    for (std::size_t row = 0; row < rows; ++row) {
      std::copy_n(call.operands[i] + row * width, width, call.output + row * channels + first);
    }
    first += width;
  }
}

constexpr ForwardRules kBatchNorm = {RunBatchNorm, BatchNormScratch, InPlace::kInInference,
                                     BatchNormState};
constexpr ForwardRules kLayerNorm = {RunLayerNorm, nullptr, InPlace::kNever, LayerNormState};
constexpr ForwardRules kRelu = {RunRelu, nullptr, InPlace::kAlways};
constexpr ForwardRules kRelu6 = {RunRelu6, nullptr, InPlace::kAlways};
constexpr ForwardRules kHardSwish = {RunHardSwish, nullptr, InPlace::kInInference};
constexpr ForwardRules kSigmoid = {RunSigmoid, nullptr, InPlace::kInInference};
constexpr ForwardRules kTanh = {RunTanh, nullptr, InPlace::kInInference};
constexpr ForwardRules kAdd = {RunAdd, nullptr, InPlace::kInInference};
constexpr ForwardRules kMultiply = {RunMultiply, nullptr, InPlace::kInInference};
constexpr ForwardRules kConcat = {RunConcat, nullptr, InPlace::kNever};

}  // namespace

const ForwardRules* FindLayerForward(OpKind kind) {
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
