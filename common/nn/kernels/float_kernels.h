#pragma once

#include <cstddef>

// The fp32 kernels: plain structs and functions, so that one source can be compiled once for each
// instruction set without any inline function of the standard library being shared between the
// builds. Sums run in a fixed order; a build may contract a * b + c into one rounding, so results
// differ between instruction sets by rounding, never from run to run.
namespace fl::nn::kernels {

// C = A * B, or C += A * B. A lies in place:
//   A(i, k) = a[i * row_stride + (k / segment_length) * segment_stride + (k % segment_length) *
//   step],
// with segments * segment_length values of k. So one kernel serves matrix products, A transposed or
// not, and convolutions over a padded image (a segment is a kernel's row).
struct Product {
  const float* a = nullptr;
  std::size_t rows = 0;
  std::size_t row_stride = 0;
  std::size_t segments = 1;
  std::size_t segment_stride = 0;
  std::size_t segment_length = 0;
  std::size_t step = 1;
  // Panels as written by pack_panels where `packed`; else row-major with b_stride, and columns >=
  // panel_columns.
  const float* b = nullptr;
  bool packed = false;
  std::size_t b_stride = 0;
  float* c = nullptr;
  std::size_t c_stride = 0;
  std::size_t columns = 0;
  const float* bias = nullptr;  // Where not null and not accumulating: added to each row.
  bool accumulate = false;
  bool relu = false;  // Negative results become 0.
};

// B(k, j) = b[k * k_stride + j * column_stride].
struct Panels {
  const float* b = nullptr;
  std::size_t depth = 0;
  std::size_t columns = 0;
  std::size_t k_stride = 0;
  std::size_t column_stride = 1;
  std::size_t panel_floats = 0;  // From one panel to the next; 0: depth * panel_columns.
};

// g = scale * gradient + decay * w; v = momentum * v + g (where velocity is not null, else v = g);
// w -= rate * v.
struct SgdUpdate {
  float* parameters = nullptr;
  const float* gradient = nullptr;
  float* velocity = nullptr;
  std::size_t count = 0;
  float scale = 1;
  float decay = 0;
  float momentum = 0;
  float rate = 0;
};

struct FloatKernels {
  std::size_t panel_columns;  // Width of a panel of B.
  std::size_t rows_max;       // Rows of the largest tile.
  // Writes ceil(columns / panel_columns) panels of depth x panel_columns, padded with zeros.
  void (*pack_panels)(const Panels& source, float* panels);
  void (*multiply)(const Product& product);
  // out[j][i] = in[i][j], of rows x columns values.
  void (*transpose)(const float* in, std::size_t rows, std::size_t columns, float* out);
  // sums[j] += the sum of column j, rows in order.
  void (*add_columns)(const float* matrix, std::size_t rows, std::size_t columns, float* sums);
  // output = max(input, 0); may be in place.
  void (*relu)(const float* input, std::size_t count, float* output);
  // gradient = output > 0 ? gradient : 0.
  void (*relu_backward)(const float* output, std::size_t count, float* gradient);
  // out = max(out, in).
  void (*maximum)(const float* in, std::size_t count, float* out);
  // Where input equals maximum: gradient += left, and left becomes 0, so that the first of equal
  // ones takes it all.
  void (*claim)(const float* input, const float* maximum, std::size_t count, float* left,
                float* gradient);
  // out += factor * in.
  void (*add_scaled)(const float* in, float factor, std::size_t count, float* out);
  // out *= factor.
  void (*scale)(float factor, std::size_t count, float* out);
  // gradient += factor * (parameters - anchor).
  void (*add_proximal)(const float* parameters, const float* anchor, std::size_t count,
                       float factor, float* gradient);
  double (*sum_of_squares)(const float* values, std::size_t count);
  void (*sgd)(const SgdUpdate& update);
};

// One for each build; which of them exist is known to instruction_set.cpp.
namespace generic {
const FloatKernels& FloatTable();
}
namespace v2 {
const FloatKernels& FloatTable();
}
namespace v3 {
const FloatKernels& FloatTable();
}
namespace v4 {
const FloatKernels& FloatTable();
}

}  // namespace fl::nn::kernels
