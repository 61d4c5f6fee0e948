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

// Calls visit(offset in the input, offset in the output, the pixel's number in its window from 1
// on, pixels in the window) for each pixel of each pool's window that lies inside the image.
template <typename Visit>
void ForEachPixel(const Window& window, std::size_t batch, const Visit& visit) {
  const std::size_t channels = window.input.channels;
  for (std::size_t i = 0; i < batch; ++i) {
    for (std::size_t out_y = 0; out_y < window.output.height; ++out_y) {
      const Reach rows =
          ReachOf(out_y, window.stride, window.pad_top, window.kernel_height, window.input.height);
      for (std::size_t out_x = 0; out_x < window.output.width; ++out_x) {
        const Reach columns =
            ReachOf(out_x, window.stride, window.pad_left, window.kernel_width, window.input.width);
        const std::size_t to =
            i * window.output.count() + out_y * window.output.row() + out_x * channels;
        const std::size_t pixels = (rows.end - rows.first) * (columns.end - columns.first);
        std::size_t seen = 0;
        for (std::size_t y = rows.first; y < rows.end; ++y) {
          for (std::size_t x = columns.first; x < columns.end; ++x) {
            ++seen;
            visit(i * window.input.count() + y * window.input.row() + x * channels, to, seen,
                  pixels);
          }
        }
      }
    }
  }
}

}  // namespace fl::nn::internal
