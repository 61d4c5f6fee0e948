#include "fl/common/nn/internal/forward.h"

#include <algorithm>

#include "fl/common/nn/internal/aligned_buffer.h"

namespace fl::nn::internal {
namespace {

using kernels::Panels;
using kernels::Product;

// More row tiles than this over the same B pay for its packing.
constexpr std::size_t kTilesInPlaceMax = 3;

std::size_t DenseScratch(const Graph& graph, const Node& node, const KernelSet& kernels) {
  const Shape& weight = graph.parameters[node.parameters[0]].shape;
  return PanelFloats(weight[0], weight[1], kernels.floats);
}

void RunDense(const ForwardCall& call) {
  const kernels::FloatKernels& kernels = call.kernels.floats;
  const std::size_t depth = call.graph.nodes[call.node.inputs[0]].shape.count();
  Product product;
  product.a = call.input();
  product.rows = call.batch;
  product.row_stride = depth;
  product.segment_length = depth;
  product.b = ParameterOf(call.graph, call.node, 0, call.parameters);
  product.columns = call.node.shape[0];
  product.b_stride = product.columns;
  product.packed =
      product.columns < kernels.panel_columns || call.batch > kTilesInPlaceMax * kernels.rows_max;
  if (product.packed) {
    kernels.pack_panels({product.b, depth, product.columns, product.columns, 1, 0}, call.scratch);
    product.b = call.scratch;
  }
  product.c = call.output;
  product.c_stride = product.columns;
  product.bias = ParameterOf(call.graph, call.node, 1, call.parameters);
  product.relu = call.relu;
  kernels.multiply(product);
}

std::size_t ConvolutionScratch(const Graph& graph, const Node& node, const KernelSet& kernels) {
  const GroupedWindow grouped = GroupedWindowOf(graph, node);
  const Window& window = grouped.window;
  return AlignedCount(PanelFloats(window.depth(), window.output.channels, kernels.floats)) +
         window.padded().count();
}

// Direct: each row of output pixels is one product of the padded image's windows, read in place,
// with the packed weights.
void RunGroup(const ForwardCall& call, const GroupedWindow& grouped, std::size_t group) {
  const kernels::FloatKernels& kernels = call.kernels.floats;
  const Window& window = grouped.window;
  const std::size_t channels = window.output.channels;
  const std::size_t first = group * channels;
  kernels.pack_panels({ParameterOf(call.graph, call.node, 0, call.parameters) + first,
                       window.depth(), channels, grouped.outputs, 1, 0},
                      call.scratch);
  float* padded = call.scratch + AlignedCount(PanelFloats(window.depth(), channels, kernels));
  Product product;
  product.rows = window.output.width;
  product.row_stride = window.stride * window.input.channels;
  product.segments = window.kernel_height;
  product.segment_length = window.kernel_width * window.input.channels;
  product.b = call.scratch;
  product.packed = true;
  product.c_stride = grouped.outputs;
  product.columns = channels;
  product.bias = ParameterOf(call.graph, call.node, 1, call.parameters) + first;
  product.relu = call.relu;
  const std::size_t input_row = window.input.width * grouped.inputs;
  const std::size_t output_row = window.output.width * grouped.outputs;
  for (std::size_t i = 0; i < call.batch; ++i) {
    const PaddedImage image =
        PaddedFor(grouped, group, call.input() + i * window.input.height * input_row, padded);
    product.segment_stride = image.row;
    for (std::size_t y = 0; y < window.output.height; ++y) {
      product.a = image.data + y * window.stride * image.row;
      product.c = call.output + (i * window.output.height + y) * output_row + first;
      kernels.multiply(product);
    }
  }
}

void RunConvolution(const ForwardCall& call) {
  const GroupedWindow grouped = GroupedWindowOf(call.graph, call.node);
  for (std::size_t group = 0; group < grouped.groups; ++group) RunGroup(call, grouped, group);
}

std::size_t DepthwiseScratch(const Graph& graph, const Node& node, const KernelSet& /*kernels*/) {
  return WindowOf(graph, node).padded().count();
}

void RunDepthwise(const ForwardCall& call) {
  const Window window = WindowOf(call.graph, call.node);
  kernels::DepthwiseRow row;
  row.channels = window.input.channels;
  row.kernel_height = window.kernel_height;
  row.kernel_width = window.kernel_width;
  row.stride = window.stride;
  row.width = window.output.width;
  row.weight = ParameterOf(call.graph, call.node, 0, call.parameters);
  row.bias = ParameterOf(call.graph, call.node, 1, call.parameters);
  row.relu = call.relu;
  for (std::size_t i = 0; i < call.batch; ++i) {
    const PaddedImage image =
        PaddedFor(window, call.input() + i * window.input.count(), call.scratch);
    row.row = image.row;
    for (std::size_t y = 0; y < window.output.height; ++y) {
      row.input = image.data + y * window.stride * image.row;
      row.output = call.output + i * window.output.count() + y * window.output.row();
      call.kernels.layers.depthwise(row);
    }
  }
}

void RunMaxPool(const ForwardCall& call) {
  const Window window = WindowOf(call.graph, call.node);
  const std::size_t channels = window.input.channels;
  ForEachPixel(window, call.batch,
               [&](std::size_t from, std::size_t to, std::size_t seen, std::size_t) {
                 if (seen == 1) {
                   std::copy_n(call.input() + from, channels, call.output + to);
                 } else {
                   call.kernels.floats.maximum(call.input() + from, channels, call.output + to);
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
                 call.kernels.floats.add_scaled(call.input() + from, 1, channels, output);
                 if (seen == pixels)
                   call.kernels.floats.scale(1.0F / static_cast<float>(pixels), channels, output);
               });
}

void RunGlobalAvgPool(const ForwardCall& call) {
  const Shape& input = call.graph.nodes[call.node.inputs[0]].shape;
  const std::size_t pixels = input[0] * input[1];
  std::fill_n(call.output, call.batch * input[2], 0.0F);
  for (std::size_t i = 0; i < call.batch; ++i) {
    float* output = call.output + i * input[2];
    call.kernels.floats.add_columns(call.input() + i * input.count(), pixels, input[2], output);
    call.kernels.floats.scale(1.0F / static_cast<float>(pixels), input[2], output);
  }
}

constexpr ForwardRules kView = {nullptr, nullptr};
constexpr ForwardRules kDense = {RunDense, DenseScratch};
constexpr ForwardRules kConvolution = {RunConvolution, ConvolutionScratch};
constexpr ForwardRules kDepthwise = {RunDepthwise, DepthwiseScratch};
constexpr ForwardRules kMaxPool = {RunMaxPool, nullptr};
constexpr ForwardRules kAvgPool = {RunAvgPool, nullptr};
constexpr ForwardRules kGlobalAvgPool = {RunGlobalAvgPool, nullptr};

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
    case OpKind::kDepthwise:
      return &kDepthwise;
    case OpKind::kMaxPool:
      return &kMaxPool;
    case OpKind::kAvgPool:
      return &kAvgPool;
    case OpKind::kGlobalAvgPool:
      return &kGlobalAvgPool;
    default:
      return FindLayerForward(kind);
  }
}

std::size_t PanelFloats(std::size_t depth, std::size_t columns,
                        const kernels::FloatKernels& kernels) {
  const std::size_t panels = (columns + kernels.panel_columns - 1) / kernels.panel_columns;
  return panels * depth * kernels.panel_columns;
}

const float* ParameterOf(const Graph& graph, const Node& node, std::size_t i,
                         const float* parameters) {
  return parameters + graph.parameters.offset(node.parameters[i]);
}

std::size_t ChannelsOf(const Node& node) {
  return node.shape[node.shape.rank() - 1];
}

GroupedWindow GroupedWindowOf(const Graph& graph, const Node& node) {
  GroupedWindow grouped;
  grouped.window = WindowOf(graph, node);
  grouped.groups = node.groups;
  grouped.inputs = grouped.window.input.channels;
  grouped.outputs = grouped.window.output.channels;
  grouped.window.input.channels /= node.groups;
  grouped.window.output.channels /= node.groups;
  return grouped;
}

PaddedImage PaddedFor(const Window& window, const float* image, float* scratch) {
  if (!window.needs_padding()) return {image, window.input.row()};
  PadImage(window, image, scratch);
  return {scratch, window.padded().row()};
}

PaddedImage PaddedFor(const GroupedWindow& grouped, std::size_t group, const float* image,
                      float* scratch) {
  const Window& window = grouped.window;
  if (grouped.groups == 1) return PaddedFor(window, image, scratch);
  // The channels of a group lie apart: they are gathered, zeros around them.
  const std::size_t channels = window.input.channels;
  const ImageExtent to = window.padded();
  const std::size_t row = to.row();
  std::fill_n(scratch, to.count(), 0.0F);
  const std::size_t height = std::min(window.input.height, to.height - window.pad_top);
  const std::size_t width = std::min(window.input.width, to.width - window.pad_left);
  for (std::size_t y = 0; y < height; ++y) {
    const float* from = image + y * window.input.width * grouped.inputs + group * channels;
    float* at = scratch + (y + window.pad_top) * row + window.pad_left * channels;
    for (std::size_t x = 0; x < width; ++x)
      std::copy_n(from + x * grouped.inputs, channels, at + x * channels);
  }
  return {scratch, row};
}

}  // namespace fl::nn::internal
