#include "fl/common/nn/internal/image.h"

#include <algorithm>

#include "fl/common/nn/build_graph.h"

namespace fl::nn::internal {
namespace {

ImageExtent ExtentOf(const Shape& shape) {
  return {shape[0], shape[1], shape[2]};
}

}  // namespace

Window WindowOf(const Graph& graph, const Node& node) {
  Window window;
  window.input = ExtentOf(graph.nodes[node.inputs[0]].shape);
  window.output = ExtentOf(node.shape);
  window.kernel_height = node.kernel_height;
  window.kernel_width = node.kernel_width;
  window.stride = node.stride;
  window.pad_top = PaddingBefore(window.input.height, window.output.height, node.kernel_height,
                                 node.stride, node.same_padding);
  window.pad_left = PaddingBefore(window.input.width, window.output.width, node.kernel_width,
                                  node.stride, node.same_padding);
  return window;
}

Reach ReachOf(std::size_t at, std::size_t stride, std::size_t pad, std::size_t kernel,
              std::size_t input) {
  const std::size_t begin = at * stride;
  return {begin > pad ? begin - pad : 0, std::min(begin + kernel - pad, input)};
}

void PadImage(const Window& window, const float* image, float* padded) {
  const ImageExtent to = window.padded();
  std::fill_n(padded, to.count(), 0.0F);
  // With a stride the last rows and columns may lie beyond the last window.
  const std::size_t height = std::min(window.input.height, to.height - window.pad_top);
  const std::size_t width = std::min(window.input.width, to.width - window.pad_left);
  for (std::size_t y = 0; y < height; ++y) {
    std::copy_n(image + y * window.input.row(), width * to.channels,
                padded + (y + window.pad_top) * to.row() + window.pad_left * to.channels);
  }
}

}  // namespace fl::nn::internal
