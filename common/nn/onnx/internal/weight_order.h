#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "fl/common/nn/graph.h"

namespace fl::onnx::internal {

// A convolution's weight: `inputs` are the input channels of one group (1 of a depthwise
// convolution). A dense layer's has one pixel; that of a dense layer that reads a flattened image,
// the image's pixels.
struct WeightExtents {
  std::size_t outputs = 1;
  std::size_t height = 1;
  std::size_t width = 1;
  std::size_t inputs = 1;
  std::size_t count() const { return outputs * height * width * inputs; }
};

// Where fl keeps the output channel: last in fp32 (HWIO), first in int8 (OHWI).
enum class OutputChannel : std::uint8_t { kFirst, kLast };

// visit(index in ONNX's order OIHW, index in ours) for each weight.
template <typename Visit>
void ForEachWeight(const WeightExtents& extents, OutputChannel place, const Visit& visit) {
  std::size_t theirs = 0;
  for (std::size_t o = 0; o < extents.outputs; ++o) {
    for (std::size_t i = 0; i < extents.inputs; ++i) {
      for (std::size_t y = 0; y < extents.height; ++y) {
        for (std::size_t x = 0; x < extents.width; ++x, ++theirs) {
          const std::size_t row = (y * extents.width + x) * extents.inputs + i;
          const std::size_t rows = extents.height * extents.width * extents.inputs;
          visit(theirs, place == OutputChannel::kLast ? row * extents.outputs + o : o * rows + row);
        }
      }
    }
  }
}

// From fl's order to ONNX's; `from` has extents.count() values, as has the result.
template <typename T>
std::vector<T> ToOnnxOrder(std::span<const T> from, const WeightExtents& extents,
                           OutputChannel place) {
  std::vector<T> to(extents.count());
  ForEachWeight(extents, place,
                [&](std::size_t theirs, std::size_t ours) { to[theirs] = from[ours]; });
  return to;
}

// From ONNX's order to fl's.
template <typename T>
std::vector<T> FromOnnxOrder(std::span<const T> from, const WeightExtents& extents,
                             OutputChannel place) {
  std::vector<T> to(extents.count());
  ForEachWeight(extents, place,
                [&](std::size_t theirs, std::size_t ours) { to[ours] = from[theirs]; });
  return to;
}

// The extents of a product's weight; `flattened` is the image whose pixels a dense layer reads in
// ONNX's order (channels first), or empty.
inline WeightExtents ExtentsOf(const nn::Graph& graph, const nn::Node& node,
                               const Shape& flattened) {
  const Shape& input = graph.nodes[node.inputs[0]].shape;
  switch (node.kind) {
    case nn::OpKind::kDense:
      if (flattened.rank() == 3) {
        return {node.shape[0], flattened[0], flattened[1], flattened[2]};
      }
      return {node.shape[0], 1, 1, input[0]};
    case nn::OpKind::kDepthwise:
      return {node.shape[2], node.kernel_height, node.kernel_width, 1};
    default:
      return {node.shape[2], node.kernel_height, node.kernel_width, input[2] / node.groups};
  }
}

}  // namespace fl::onnx::internal
