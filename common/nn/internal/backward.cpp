#include "fl/common/nn/internal/backward.h"

#include <algorithm>

#include "fl/common/nn/internal/aligned_buffer.h"
#include "fl/common/nn/internal/forward.h"

namespace fl::nn::internal {
namespace {

using kernels::Product;

void BiasGradient(const BackwardCall& call, std::size_t rows, std::size_t columns) {
  float* sums = GradientOf(call, 1);
  std::fill_n(sums, columns, 0.0F);
  call.kernels.floats.add_columns(call.output_gradient, rows, columns, sums);
}

std::size_t DenseScratch(const Graph& graph, const Node& node, std::size_t batch,
                         const KernelSet& kernels) {
  const Shape& weight = graph.parameters[node.parameters[0]].shape;
  return std::max(PanelFloats(batch, weight[1], kernels.floats),
                  AlignedCount(PanelFloats(weight[1], batch, kernels.floats)) + weight[0] * batch);
}

// Input transposed times output gradient.
void DenseWeight(const BackwardCall& call, std::size_t inputs) {
  const std::size_t units = call.node.shape[0];
  call.kernels.floats.pack_panels({call.output_gradient, call.batch, units, units, 1, 0},
                                  call.scratch);
  Product product;
  product.a = call.input();
  product.rows = inputs;
  product.row_stride = 1;
  product.segment_length = call.batch;
  product.step = inputs;
  product.b = call.scratch;
  product.packed = true;
  product.c = GradientOf(call, 0);
  product.c_stride = units;
  product.columns = units;
  call.kernels.floats.multiply(product);
}

// Weight times output gradient transposed, then transposed: so the weight, the largest of them, is
// read once, in place and in order.
void DenseInput(const BackwardCall& call, std::size_t inputs) {
  const std::size_t units = call.node.shape[0];
  call.kernels.floats.pack_panels({call.output_gradient, units, call.batch, 1, units, 0},
                                  call.scratch);
  float* transposed =
      call.scratch + AlignedCount(PanelFloats(units, call.batch, call.kernels.floats));
  Product product;
  product.a = ParameterOf(call.graph, call.node, 0, call.parameters);
  product.rows = inputs;
  product.row_stride = units;
  product.segment_length = units;
  product.b = call.scratch;
  product.packed = true;
  product.c = transposed;
  product.c_stride = call.batch;
  product.columns = call.batch;
  call.kernels.floats.multiply(product);
  call.kernels.floats.transpose(transposed, inputs, call.batch, call.input_gradient);
}

void DenseBackward(const BackwardCall& call) {
  const std::size_t inputs = call.graph.nodes[call.node.inputs[0]].shape.count();
  BiasGradient(call, call.batch, call.node.shape[0]);
  DenseWeight(call, inputs);
  if (call.input_gradient != nullptr) DenseInput(call, inputs);
}

// The output's gradient with zeros between its pixels (stride) and around them, so that the input's
// gradient is a plain convolution of it with the flipped weights.
ImageExtent SpreadExtent(const Window& window) {
  return {window.input.height + window.kernel_height - 1,
          window.input.width + window.kernel_width - 1, window.output.channels};
}

// `pixel_stride`: from one pixel of the gradient to the next.
void Spread(const Window& window, const float* gradient, std::size_t pixel_stride, float* spread) {
  const ImageExtent extent = SpreadExtent(window);
  const std::size_t channels = window.output.channels;
  std::fill_n(spread, extent.count(), 0.0F);
  for (std::size_t y = 0; y < window.output.height; ++y) {
    const std::size_t to_y = y * window.stride + window.kernel_height - 1 - window.pad_top;
    for (std::size_t x = 0; x < window.output.width; ++x) {
      const std::size_t to_x = x * window.stride + window.kernel_width - 1 - window.pad_left;
      std::copy_n(gradient + (y * window.output.width + x) * pixel_stride, channels,
                  spread + to_y * extent.row() + to_x * channels);
    }
  }
}

std::size_t ConvolutionScratch(const Graph& graph, const Node& node, std::size_t /*batch*/,
                               const KernelSet& kernels) {
  const Window window = GroupedWindowOf(graph, node).window;
  const std::size_t pixels = window.output.height * window.output.width;
  const std::size_t weight =
      AlignedCount(PanelFloats(pixels, window.output.channels, kernels.floats)) +
      window.padded().count();
  const std::size_t flipped_depth =
      window.kernel_height * window.kernel_width * window.output.channels;
  const std::size_t input =
      AlignedCount(PanelFloats(flipped_depth, window.input.channels, kernels.floats)) +
      SpreadExtent(window).count();
  return std::max(weight, input);
}

// For each row of the kernel: the image's windows transposed times the output's gradient, added up
// over the batch.
void ConvolutionWeight(const BackwardCall& call, const GroupedWindow& grouped, std::size_t group) {
  const Window& window = grouped.window;
  const std::size_t channels = window.output.channels;
  const std::size_t pixels = window.output.height * window.output.width;
  float* padded = call.scratch + AlignedCount(PanelFloats(pixels, channels, call.kernels.floats));
  Product product;
  product.rows = window.kernel_width * window.input.channels;
  product.row_stride = 1;
  product.segments = window.output.height;
  product.segment_length = window.output.width;
  product.step = window.stride * window.input.channels;
  product.b = call.scratch;
  product.packed = true;
  product.c_stride = grouped.outputs;
  product.columns = channels;
  for (std::size_t i = 0; i < call.batch; ++i) {
    const std::size_t image_floats = window.input.height * window.input.width * grouped.inputs;
    const PaddedImage image = PaddedFor(grouped, group, call.input() + i * image_floats, padded);
    const float* gradient = call.output_gradient + i * pixels * grouped.outputs + group * channels;
    call.kernels.floats.pack_panels({gradient, pixels, channels, grouped.outputs, 1, 0},
                                    call.scratch);
    product.segment_stride = window.stride * image.row;
    product.accumulate = i > 0;
    for (std::size_t y = 0; y < window.kernel_height; ++y) {
      product.a = image.data + y * image.row;
      product.c = GradientOf(call, 0) + y * product.rows * grouped.outputs + group * channels;
      call.kernels.floats.multiply(product);
    }
  }
}

// Rows (kernel y, kernel x, channel out) of the flipped weights, columns channel in.
void PackFlipped(const BackwardCall& call, const GroupedWindow& grouped, std::size_t group) {
  const Window& window = grouped.window;
  const std::size_t inputs = window.input.channels;
  const std::size_t outputs = window.output.channels;
  const std::size_t taps = window.kernel_height * window.kernel_width;
  const float* weight = ParameterOf(call.graph, call.node, 0, call.parameters) + group * outputs;
  const std::size_t panel = call.kernels.floats.panel_columns;
  for (std::size_t tap = 0; tap < taps; ++tap) {
    call.kernels.floats.pack_panels({weight + (taps - 1 - tap) * inputs * grouped.outputs, outputs,
                                     inputs, 1, grouped.outputs, taps * outputs * panel},
                                    call.scratch + tap * outputs * panel);
  }
}

void ConvolutionInput(const BackwardCall& call, const GroupedWindow& grouped, std::size_t group) {
  const Window& window = grouped.window;
  const std::size_t outputs = window.output.channels;
  const std::size_t depth = window.kernel_height * window.kernel_width * outputs;
  PackFlipped(call, grouped, group);
  float* spread =
      call.scratch + AlignedCount(PanelFloats(depth, window.input.channels, call.kernels.floats));
  const ImageExtent extent = SpreadExtent(window);
  Product product;
  product.rows = window.input.width;
  product.row_stride = outputs;
  product.segments = window.kernel_height;
  product.segment_stride = extent.row();
  product.segment_length = window.kernel_width * outputs;
  product.b = call.scratch;
  product.packed = true;
  product.c_stride = grouped.inputs;
  product.columns = window.input.channels;
  const std::size_t pixels = window.output.height * window.output.width;
  for (std::size_t i = 0; i < call.batch; ++i) {
    Spread(window, call.output_gradient + i * pixels * grouped.outputs + group * outputs,
           grouped.outputs, spread);
    for (std::size_t y = 0; y < window.input.height; ++y) {
      const std::size_t pixel = (i * window.input.height + y) * window.input.width;
      product.a = spread + y * extent.row();
      product.c = call.input_gradient + pixel * grouped.inputs + group * window.input.channels;
      call.kernels.floats.multiply(product);
    }
  }
}

void ConvolutionBackward(const BackwardCall& call) {
  const GroupedWindow grouped = GroupedWindowOf(call.graph, call.node);
  const ImageExtent& output = grouped.window.output;
  BiasGradient(call, call.batch * output.height * output.width, grouped.outputs);
  for (std::size_t group = 0; group < grouped.groups; ++group) {
    ConvolutionWeight(call, grouped, group);
    if (call.input_gradient != nullptr) ConvolutionInput(call, grouped, group);
  }
}

std::size_t DepthwiseScratch(const Graph& graph, const Node& node, std::size_t /*batch*/,
                             const KernelSet& /*kernels*/) {
  const Window window = WindowOf(graph, node);
  const std::size_t weight = graph.parameters[node.parameters[0]].shape.count();
  return std::max(window.padded().count(), AlignedCount(weight) + SpreadExtent(window).count());
}

void DepthwiseWeight(const BackwardCall& call, const Window& window) {
  kernels::DepthwiseWeightRow weight;
  weight.row.channels = window.input.channels;
  weight.row.kernel_height = window.kernel_height;
  weight.row.kernel_width = window.kernel_width;
  weight.row.stride = window.stride;
  weight.row.width = window.output.width;
  weight.weight_gradient = GradientOf(call, 0);
  std::fill_n(weight.weight_gradient,
              window.kernel_height * window.kernel_width * window.input.channels, 0.0F);
  for (std::size_t i = 0; i < call.batch; ++i) {
    const PaddedImage image =
        PaddedFor(window, call.input() + i * window.input.count(), call.scratch);
    weight.row.row = image.row;
    for (std::size_t y = 0; y < window.output.height; ++y) {
      weight.row.input = image.data + y * window.stride * image.row;
      weight.output_gradient =
          call.output_gradient + i * window.output.count() + y * window.output.row();
      call.kernels.layers.depthwise_weight(weight);
    }
  }
}

// A depthwise convolution of the spread gradient with the flipped weights.
void DepthwiseInput(const BackwardCall& call, const Window& window) {
  const std::size_t channels = window.input.channels;
  const std::size_t taps = window.kernel_height * window.kernel_width;
  const float* weight = ParameterOf(call.graph, call.node, 0, call.parameters);
  for (std::size_t tap = 0; tap < taps; ++tap)
    std::copy_n(weight + (taps - 1 - tap) * channels, channels, call.scratch + tap * channels);
  float* spread = call.scratch + AlignedCount(taps * channels);
  const ImageExtent extent = SpreadExtent(window);
  kernels::DepthwiseRow row;
  row.row = extent.row();
  row.channels = channels;
  row.kernel_height = window.kernel_height;
  row.kernel_width = window.kernel_width;
  row.width = window.input.width;
  row.weight = call.scratch;
  for (std::size_t i = 0; i < call.batch; ++i) {
    Spread(window, call.output_gradient + i * window.output.count(), channels, spread);
    for (std::size_t y = 0; y < window.input.height; ++y) {
      row.input = spread + y * extent.row();
      row.output = call.input_gradient + i * window.input.count() + y * window.input.row();
      call.kernels.layers.depthwise(row);
    }
  }
}

void DepthwiseBackward(const BackwardCall& call) {
  const Window window = WindowOf(call.graph, call.node);
  BiasGradient(call, call.batch * window.output.height * window.output.width,
               window.output.channels);
  DepthwiseWeight(call, window);
  if (call.input_gradient != nullptr) DepthwiseInput(call, window);
}

// The first pixel of a window that equals its maximum takes the gradient.
void MaxPoolBackward(const BackwardCall& call) {
  if (call.input_gradient == nullptr) return;
  const Window window = WindowOf(call.graph, call.node);
  const std::size_t channels = window.input.channels;
  std::fill_n(call.input_gradient, call.batch * window.input.count(), 0.0F);
  ForEachPixel(window, call.batch, [&](std::size_t from, std::size_t to, std::size_t, std::size_t) {
    call.kernels.floats.claim(call.input() + from, call.output + to, channels,
                              call.output_gradient + to, call.input_gradient + from);
  });
}

void AvgPoolBackward(const BackwardCall& call) {
  if (call.input_gradient == nullptr) return;
  const Window window = WindowOf(call.graph, call.node);
  const std::size_t channels = window.input.channels;
  std::fill_n(call.input_gradient, call.batch * window.input.count(), 0.0F);
  ForEachPixel(
      window, call.batch, [&](std::size_t from, std::size_t to, std::size_t, std::size_t pixels) {
        call.kernels.floats.add_scaled(call.output_gradient + to, 1.0F / static_cast<float>(pixels),
                                       channels, call.input_gradient + from);
      });
}

void GlobalAvgPoolBackward(const BackwardCall& call) {
  if (call.input_gradient == nullptr) return;
  const Shape& input = call.graph.nodes[call.node.inputs[0]].shape;
  const std::size_t pixels = input[0] * input[1];
  const std::size_t channels = input[2];
  const float share = 1.0F / static_cast<float>(pixels);
  for (std::size_t i = 0; i < call.batch; ++i) {
    float* gradient = call.output_gradient + i * channels;
    call.kernels.floats.scale(share, channels, gradient);
    for (std::size_t p = 0; p < pixels; ++p) {
      std::copy_n(gradient, channels, call.input_gradient + (i * pixels + p) * channels);
    }
  }
}

constexpr BackwardRules kView = {nullptr, nullptr, true};
constexpr BackwardRules kDense = {DenseBackward, DenseScratch, false};
constexpr BackwardRules kConvolution = {ConvolutionBackward, ConvolutionScratch, false};
constexpr BackwardRules kDepthwise = {DepthwiseBackward, DepthwiseScratch, false};
constexpr BackwardRules kMaxPool = {MaxPoolBackward, nullptr, false};
constexpr BackwardRules kAvgPool = {AvgPoolBackward, nullptr, false};
constexpr BackwardRules kGlobalAvgPool = {GlobalAvgPoolBackward, nullptr, false};

}  // namespace

const BackwardRules* FindBackward(OpKind kind) {
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
      return FindLayerBackward(kind);
  }
}

}  // namespace fl::nn::internal
