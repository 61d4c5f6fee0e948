#pragma once

#include <cstddef>

#include "fl/common/nn/graph.h"

namespace fl::nn::internal {

struct ImageExtent {
  std::size_t height = 0;
  std::size_t width = 0;
  std::size_t channels = 0;
  std::size_t row() const { return width * channels; }
  std::size_t count() const { return height * width * channels; }
};

// How a window slides over an image: of a convolution or a pool.
struct Window {
  ImageExtent input;
  ImageExtent output;
  std::size_t kernel_height = 0;
  std::size_t kernel_width = 0;
  std::size_t stride = 1;
  std::size_t pad_top = 0;
  std::size_t pad_left = 0;

  // The input with the zeros around it that `same` adds: all that the window reads.
  ImageExtent padded() const {
    return {(output.height - 1) * stride + kernel_height,
            (output.width - 1) * stride + kernel_width, input.channels};
  }
  bool needs_padding() const {
    return padded().height > input.height || padded().width > input.width;
  }
  // Convolution: values of one output's window.
  std::size_t depth() const { return kernel_height * kernel_width * input.channels; }
};

Window WindowOf(const Graph& graph, const Node& node);

// The part of a window that lies inside the image, for output row or column `at`: input indices
// [first, end).
struct Reach {
  std::size_t first = 0;
  std::size_t end = 0;
};
Reach ReachOf(std::size_t at, std::size_t stride, std::size_t pad, std::size_t kernel,
              std::size_t input);

// Copies an image to where zeros surround it; `padded` has window.padded().count() values, all
// overwritten.
void PadImage(const Window& window, const float* image, float* padded);

}  // namespace fl::nn::internal
