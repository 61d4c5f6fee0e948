#include "fl/common/nn/internal/forward.h"

#include <algorithm>

#include "fl/common/nn/internal/aligned_buffer.h"

namespace fl::nn::internal {
namespace {

using kernels::FloatKernels;
using kernels::Panels;
using kernels::Product;

// More row tiles than this over the same B pay for its packing.
constexpr std::size_t kTilesInPlaceMax = 3;

std::size_t DenseScratch(const Graph& graph, const Node& node, const FloatKernels& kernels) {
  const Shape& weight = graph.parameters[node.parameters[0]].shape;
  return PanelFloats(weight[0], weight[1], kernels);
}

void RunDense(const ForwardCall& call) {
  const std::size_t depth = call.graph.nodes[call.node.inputs[0]].shape.count();
  Product product;
  product.a = call.input;
  product.rows = call.batch;
  product.row_stride = depth;
  product.segment_length = depth;
  product.b = ParameterOf(call.graph, call.node, 0, call.parameters);
  product.columns = call.node.shape[0];
  product.b_stride = product.columns;
  product.packed = product.columns < call.kernels.panel_columns ||
                   call.batch > kTilesInPlaceMax * call.kernels.rows_max;
  if (product.packed) {
    call.kernels.pack_panels({product.b, depth, product.columns, product.columns, 1, 0},
                             call.scratch);
    product.b = call.scratch;
  }
  product.c = call.output;
  product.c_stride = product.columns;
  product.bias = ParameterOf(call.graph, call.node, 1, call.parameters);
  product.relu = call.relu;
  call.kernels.multiply(product);
}

std::size_t ConvolutionScratch(const Graph& graph, const Node& node, const FloatKernels& kernels) {
  const Window window = WindowOf(graph, node);
  return AlignedCount(PanelFloats(window.depth(), window.output.channels, kernels)) +
         window.padded().count();
}

// Direct: each row of output pixels is one product of the padded image's windows, read in place,
// with the packed weights.
void RunConvolution(const ForwardCall& call) {
  const Window window = WindowOf(call.graph, call.node);
  const std::size_t channels = window.output.channels;
  call.kernels.pack_panels({ParameterOf(call.graph, call.node, 0, call.parameters), window.depth(),
                            channels, channels, 1, 0},
                           call.scratch);
  float* padded = call.scratch + AlignedCount(PanelFloats(window.depth(), channels, call.kernels));
  Product product;
  product.rows = window.output.width;
  product.row_stride = window.stride * window.input.channels;
  product.segments = window.kernel_height;
  product.segment_length = window.kernel_width * window.input.channels;
  product.b = call.scratch;
  product.packed = true;
  product.c_stride = channels;
  product.columns = channels;
  product.bias = ParameterOf(call.graph, call.node, 1, call.parameters);
  product.relu = call.relu;
  for (std::size_t i = 0; i < call.batch; ++i) {
    const PaddedImage image = PaddedFor(window, call.input + i * window.input.count(), padded);
    product.segment_stride = image.row;
    for (std::size_t y = 0; y < window.output.height; ++y) {
      product.a = image.data + y * window.stride * image.row;
      product.c = call.output + i * window.output.count() + y * window.output.row();
      call.kernels.multiply(product);
    }
  }
}

void RunMaxPool(const ForwardCall& call) {
  const Window window = WindowOf(call.graph, call.node);
  const std::size_t channels = window.input.channels;
  ForEachPixel(window, call.batch,
               [&](std::size_t from, std::size_t to, std::size_t seen, std::size_t) {
                 if (seen == 1) {
                   std::copy_n(call.input + from, channels, call.output + to);
                 } else {
                   call.kernels.maximum(call.input + from, channels, call.output + to);
                 }
               });
}

void RunAvgPool(const ForwardCall& call) {
  const Window window = WindowOf(call.graph, call.node);
  const std::size_t channels = window.input.channels;
  ForEachPixel(window, call.batch,
               [&](std::size_t from, std::size_t to, std::size_t seen, std::size_t pixels) {
                 float* output = call.output + to;
                 if (seen == 1) std::fill_n(output, channels, 0.0F);
                 call.kernels.add_scaled(call.input + from, 1, channels, output);
                 if (seen == pixels)
                   call.kernels.scale(1.0F / static_cast<float>(pixels), channels, output);
               });
}

void RunGlobalAvgPool(const ForwardCall& call) {
  const Shape& input = call.graph.nodes[call.node.inputs[0]].shape;
  const std::size_t pixels = input[0] * input[1];
  std::fill_n(call.output, call.batch * input[2], 0.0F);
  for (std::size_t i = 0; i < call.batch; ++i) {
    float* output = call.output + i * input[2];
    call.kernels.add_columns(call.input + i * input.count(), pixels, input[2], output);
    call.kernels.scale(1.0F / static_cast<float>(pixels), input[2], output);
  }
}

void RunRelu(const ForwardCall& call) {
  call.kernels.relu(call.input, call.batch * call.node.shape.count(), call.output);
}

constexpr ForwardRules kView = {nullptr, nullptr};
constexpr ForwardRules kDense = {RunDense, DenseScratch};
constexpr ForwardRules kConvolution = {RunConvolution, ConvolutionScratch};
constexpr ForwardRules kMaxPool = {RunMaxPool, nullptr};
constexpr ForwardRules kAvgPool = {RunAvgPool, nullptr};
constexpr ForwardRules kGlobalAvgPool = {RunGlobalAvgPool, nullptr};
constexpr ForwardRules kRelu = {RunRelu, nullptr};

}  // namespace

const ForwardRules* FindForward(OpKind kind) {
  switch (kind) {
    case OpKind::kInput:
    case OpKind::kFlatten:
    case OpKind::kReshape:
      return &kView;
    case OpKind::kDense:
      return &kDense;
    case OpKind::kConv2d:
      return &kConvolution;
    case OpKind::kMaxPool:
      return &kMaxPool;
    case OpKind::kAvgPool:
      return &kAvgPool;
    case OpKind::kGlobalAvgPool:
      return &kGlobalAvgPool;
    case OpKind::kRelu:
      return &kRelu;
    default:
      break;
  }
  return nullptr;
}

std::size_t PanelFloats(std::size_t depth, std::size_t columns, const FloatKernels& kernels) {
  const std::size_t panels = (columns + kernels.panel_columns - 1) / kernels.panel_columns;
  return panels * depth * kernels.panel_columns;
}

const float* ParameterOf(const Graph& graph, const Node& node, std::size_t i,
                         const float* parameters) {
  return parameters + graph.parameters.offset(node.parameters[i]);
}

PaddedImage PaddedFor(const Window& window, const float* image, float* scratch) {
  if (!window.needs_padding()) return {image, window.input.row()};
  PadImage(window, image, scratch);
  return {scratch, window.padded().row()};
}

}  // namespace fl::nn::internal
