#pragma once

#include <cstddef>

// fp32 kernels of the operators that are no matrix products, compiled once for each instruction set
// like those (float_kernels.h). Matrices are rows x columns, row-major; channels are columns.
namespace fl::nn::kernels {

// One row of a depthwise convolution's output pixels, read from an image that holds all that the
// windows reach.
struct DepthwiseRow {
  const float* input = nullptr;  // The first window's first pixel.
  std::size_t row = 0;           // Floats from one row of the image to the next.
  std::size_t channels = 0;
  std::size_t kernel_height = 0;
  std::size_t kernel_width = 0;
  std::size_t stride = 1;
  std::size_t width = 0;          // Output pixels.
  const float* weight = nullptr;  // kernel_height x kernel_width x channels.
  const float* bias = nullptr;    // Of each channel, or null.
  float* output = nullptr;        // width x channels.
  bool relu = false;
};

struct DepthwiseWeightRow {
  DepthwiseRow row;                        // `weight`, `bias`, `output`, `relu` are not read.
  const float* output_gradient = nullptr;  // width x channels.
  float* weight_gradient = nullptr;        // Added to.
};

// out = scale[column] * in + shift[column]; with x: + slope[column] * x. May be in place.
struct Affine {
  const float* in = nullptr;
  const float* scale = nullptr;
  const float* shift = nullptr;
  const float* x = nullptr;  // Or null.
  const float* slope = nullptr;
  std::size_t rows = 0;
  std::size_t columns = 0;
  float* out = nullptr;
};

// sums[column] += (x - mean[column]) * factor, or its square where there is no factor.
struct CenteredSums {
  const float* x = nullptr;
  const float* mean = nullptr;
  const float* factor = nullptr;  // rows x columns, or null.
  std::size_t rows = 0;
  std::size_t columns = 0;
  float* sums = nullptr;
};

// Rows of a layer norm; moments holds a mean and an inverse deviation for each row.
struct NormalizedRows {
  const float* input = nullptr;
  std::size_t rows = 0;
  std::size_t columns = 0;
  const float* gamma = nullptr;
  const float* beta = nullptr;
  float epsilon = 0;
  float* moments = nullptr;  // 2 x rows, or null.
  float* output = nullptr;
};

struct NormalizedRowsGradient {
  const float* input = nullptr;
  const float* moments = nullptr;
  const float* gamma = nullptr;
  const float* output_gradient = nullptr;
  std::size_t rows = 0;
  std::size_t columns = 0;
  float* gamma_gradient = nullptr;  // Added to.
  float* beta_gradient = nullptr;   // Added to.
  float* input_gradient = nullptr;  // Overwritten, or null.
};

// A function of one value: forward(in, count, out), which may work in place, and
// backward(in, out, count, gradient): gradient times the slope there.
struct UnaryKernels {
  void (*forward)(const float* input, std::size_t count, float* output);
  void (*backward)(const float* input, const float* output, std::size_t count, float* gradient);
};

struct LayerKernels {
  void (*depthwise)(const DepthwiseRow& row);
  void (*depthwise_weight)(const DepthwiseWeightRow& row);
  void (*affine)(const Affine& values);
  void (*add_centered)(const CenteredSums& values);
  void (*normalize_rows)(const NormalizedRows& rows);
  void (*normalize_rows_backward)(const NormalizedRowsGradient& rows);
  void (*multiply)(const float* a, const float* b, std::size_t count, float* out);  // out = a * b.
  void (*multiply_add)(const float* a, const float* b, std::size_t count,
                       float* out);  // out += a * b.
  UnaryKernels relu6;                // min(max(x, 0), 6); backward reads the output.
  UnaryKernels hard_swish;           // x relu6(x + 3) / 6; backward reads the input.
  UnaryKernels sigmoid;              // Backward reads the output.
  UnaryKernels tanh;                 // Backward reads the output.
};

namespace generic {
const LayerKernels& LayerTable();
}
namespace v2 {
const LayerKernels& LayerTable();
}
namespace v3 {
const LayerKernels& LayerTable();
}
namespace v4 {
const LayerKernels& LayerTable();
}

}  // namespace fl::nn::kernels
