#pragma once

#include "fl/common/nn/onnx/internal/import_graph.h"

namespace fl::onnx::internal {

// A window in fl's words. A kernel may be larger than the file's, with `lead` rows or columns of
// zeros before the file's and the rest after: that is how symmetric pads of a strided convolution
// (PyTorch's padding=1 with stride 2) become `same`.
struct ImportedWindow {
  std::size_t kernel[2] = {1, 1};
  std::size_t lead[2] = {0, 0};
  std::size_t stride = 1;
  bool same = false;
  Shape output;  // Height and width.

  std::string Words() const;
};

// From kernel_shape, strides, pads, auto_pad, dilations and ceil_mode. kUnsupported when fl has no
// such window: dilation, two strides, pads that neither `valid` nor `same` gives. `grows`: the
// kernel may become larger.
Result<ImportedWindow> WindowOf(const Operator& node, const Shape& image, std::size_t kernel_height,
                                std::size_t kernel_width, bool grows);

// OIHW weights with the window's zeros around each kernel.
template <typename T>
std::vector<T> GrowKernels(const std::vector<T>& weight, std::size_t height, std::size_t width,
                           const ImportedWindow& window) {
  const std::size_t kernels = weight.size() / (height * width);
  std::vector<T> grown(kernels * window.kernel[0] * window.kernel[1]);
  for (std::size_t k = 0; k < kernels; ++k) {
    for (std::size_t y = 0; y < height; ++y) {
      for (std::size_t x = 0; x < width; ++x) {
        const std::size_t row = k * window.kernel[0] + y + window.lead[0];
        grown[row * window.kernel[1] + x + window.lead[1]] = weight[(k * height + y) * width + x];
      }
    }
  }
  return grown;
}

}  // namespace fl::onnx::internal
