// Compiled once for each instruction set with FL_ISA as its name (CMakeLists.txt). No header with
// inline functions may be included here: the linker would merge them across the builds.
#include "fl/common/nn/kernels/float_kernels.h"

namespace fl::nn::kernels {
namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
constexpr int kRowsMax = 14;  // 28 sums, 2 of B, 1 of A: 31 of 32 registers.
#elif defined(__AVX__)
constexpr int kLanes = 8;
constexpr int kRowsMax = 6;  // 12 sums, 2 of B, 1 of A: 15 of 16 registers.
#else
constexpr int kLanes = 4;
constexpr int kRowsMax = 6;
#endif
constexpr int kPanelVectors = 2;
constexpr std::size_t kPanel = kPanelVectors * kLanes;
constexpr int kSingleRowVectors =
    8;  // One row alone: enough sums to hide the latency of an addition.

typedef float Vector __attribute__((vector_size(kLanes * 4)));
typedef float UnalignedVector __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));
typedef float Four __attribute__((vector_size(16)));
typedef float UnalignedFour __attribute__((vector_size(16), aligned(4), may_alias));

inline Vector Load(const float* from) {
  return *reinterpret_cast<const UnalignedVector*>(from);
}
inline void Store(float* to, Vector value) {
  *reinterpret_cast<UnalignedVector*>(to) = value;
}
inline Vector Splat(float value) {
  return value - Vector{};
}

// One tile of C, MR rows by NV vectors, kept in registers over the whole depth.
struct TileArguments {
  const Product* product;
  const float* a;
  const float* b;
  std::size_t b_step;
  float* c;
  std::size_t c_stride;
  const float* bias;
  bool accumulate;
  std::size_t ahead;  // Floats from a row of B to what is fetched beside it; 0: nothing.
};

template <int MR, int NV>
void Tile(const TileArguments& tile) {
  const Product& product = *tile.product;
  Vector sums[MR][NV];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) {
      sums[i][v] = Vector{};
      const std::size_t row = static_cast<std::size_t>(i);
      if (tile.accumulate)
        sums[i][v] = Load(tile.c + row * tile.c_stride + v * kLanes);
      else if (tile.bias != nullptr)
        sums[i][v] = Load(tile.bias + v * kLanes);
    }
  }
  const float* b = tile.b;
  const std::size_t row_stride = product.row_stride;
  for (std::size_t segment = 0; segment < product.segments; ++segment) {
    const float* a = tile.a + segment * product.segment_stride;
    for (std::size_t k = 0; k < product.segment_length; ++k) {
      Vector columns[NV];
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) columns[v] = Load(b + v * kLanes);
      if (tile.ahead != 0) {
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v) __builtin_prefetch(b + tile.ahead + v * kLanes);
      }
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i) {
        const Vector value = Splat(a[static_cast<std::size_t>(i) * row_stride]);
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v) sums[i][v] += value * columns[v];
      }
      a += product.step;
      b += tile.b_step;
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) {
      Vector sum = sums[i][v];
      if (product.relu) sum = sum < Vector{} ? Vector{} : sum;
      Store(tile.c + static_cast<std::size_t>(i) * tile.c_stride + v * kLanes, sum);
    }
  }
}

using TileFunction = void (*)(const TileArguments&);

template <int NV>
TileFunction TileOf(std::size_t rows) {
  switch (rows) {
    case 1:
      return Tile<1, NV>;
    case 2:
      return Tile<2, NV>;
    case 3:
      return Tile<3, NV>;
    case 4:
      return Tile<4, NV>;
    case 5:
      return Tile<5, NV>;
#if defined(__AVX512F__)
    case 6:
      return Tile<6, NV>;
    case 7:
      return Tile<7, NV>;
    case 8:
      return Tile<8, NV>;
    case 9:
      return Tile<9, NV>;
    case 10:
      return Tile<10, NV>;
    case 11:
      return Tile<11, NV>;
    case 12:
      return Tile<12, NV>;
    case 13:
      return Tile<13, NV>;
#endif
    default:
      return Tile<kRowsMax, NV>;
  }
}

// Columns [first, first + width) of C for all rows, where width fills the vectors: rows in tiles of
// nearly equal height.
void MultiplyFull(const Product& product, const float* b, std::size_t b_step, std::size_t first,
                  int vectors) {
  // A panel of B in place lies in pieces, which no processor fetches by itself: the first tile over
  // it fetches the next one.
  const std::size_t ahead = product.packed ? 0 : static_cast<std::size_t>(vectors) * kLanes;
  const std::size_t blocks = (product.rows + kRowsMax - 1) / kRowsMax;
  std::size_t row = 0;
  for (std::size_t block = 0; block < blocks; ++block) {
    const std::size_t rows = (product.rows - row) / (blocks - block);
    const TileArguments tile = {&product,
                                product.a + row * product.row_stride,
                                b,
                                b_step,
                                product.c + row * product.c_stride + first,
                                product.c_stride,
                                product.bias == nullptr ? nullptr : product.bias + first,
                                product.accumulate,
                                row == 0 ? ahead : 0};
    if (vectors == 1)
      TileOf<1>(rows)(tile);
    else if (vectors == kPanelVectors)
      TileOf<kPanelVectors>(rows)(tile);
    else
      Tile<1, kSingleRowVectors>(tile);
    row += rows;
  }
}

// The last columns, fewer than the vectors hold: computed beside C, then copied. `skip` leading
// columns of the tile belong to its neighbour (a tile over B in place must begin `skip` columns
// early to stay inside).
void MultiplyTail(const Product& product, const float* b, std::size_t b_step, std::size_t first,
                  std::size_t skip) {
  const std::size_t width = product.columns - first;
  const bool one = width + skip <= kLanes;
  float result[kRowsMax * kPanel];
  float bias[kPanel] = {};
  for (std::size_t j = 0; product.bias != nullptr && !product.accumulate && j < width; ++j) {
    bias[skip + j] = product.bias[first + j];
  }
  Product inner = product;
  inner.relu = product.relu && !product.accumulate;
  const std::size_t blocks = (product.rows + kRowsMax - 1) / kRowsMax;
  std::size_t row = 0;
  for (std::size_t block = 0; block < blocks; ++block) {
    const std::size_t rows = (product.rows - row) / (blocks - block);
    const TileArguments tile = {
        &inner, product.a + row * product.row_stride, b, b_step, result, kPanel, bias, false, 0};
    if (one)
      TileOf<1>(rows)(tile);
    else
      TileOf<kPanelVectors>(rows)(tile);
    for (std::size_t i = 0; i < rows; ++i) {
      float* c = product.c + (row + i) * product.c_stride + first;
      for (std::size_t j = 0; j < width; ++j) {
        const float value = result[i * kPanel + skip + j];
        if (!product.accumulate)
          c[j] = value;
        else
          c[j] = product.relu && c[j] + value < 0 ? 0 : c[j] + value;
      }
    }
    row += rows;
  }
}

void MultiplyPacked(const Product& product) {
  const std::size_t depth = product.segments * product.segment_length;
  std::size_t first = 0;
  const float* panel = product.b;
  for (; first + kPanel <= product.columns; first += kPanel, panel += depth * kPanel) {
    MultiplyFull(product, panel, kPanel, first, kPanelVectors);
  }
  if (first < product.columns && first + kLanes == product.columns) {
    MultiplyFull(product, panel, kPanel, first, 1);
  } else if (first < product.columns) {
    MultiplyTail(product, panel, kPanel, first, 0);
  }
}

void MultiplyInPlace(const Product& product) {
  std::size_t first = 0;
  if (product.rows == 1) {
    constexpr std::size_t kWide = kSingleRowVectors * kLanes;
    for (; first + kWide <= product.columns; first += kWide) {
      MultiplyFull(product, product.b + first, product.b_stride, first, kSingleRowVectors);
    }
  }
  for (; first + kPanel <= product.columns; first += kPanel) {
    MultiplyFull(product, product.b + first, product.b_stride, first, kPanelVectors);
  }
  if (first + kLanes <= product.columns) {
    MultiplyFull(product, product.b + first, product.b_stride, first, 1);
    first += kLanes;
  }
  if (first < product.columns) {
    const std::size_t skip = kLanes - (product.columns - first);
    MultiplyTail(product, product.b + first - skip, product.b_stride, first, skip);
  }
}

// A large B in place is read in blocks of its depth, so that memory is read nearly in order and a
// block's panel stays in the nearest cache for all rows.
void MultiplyByDepth(const Product& product) {
  constexpr std::size_t kBlockOfOneRow = 64;
  constexpr std::size_t kBlock = 192;
  const std::size_t block = product.rows == 1 ? kBlockOfOneRow : kBlock;
  Product part = product;
  part.relu = false;
  for (std::size_t first = 0; first < product.segment_length; first += block) {
    const std::size_t left = product.segment_length - first;
    const bool last = left <= block;
    part.a = product.a + first * product.step;
    part.b = product.b + first * product.b_stride;
    part.segment_length = last ? left : block;
    part.accumulate = product.accumulate || first > 0;
    part.relu = last && product.relu;
    MultiplyInPlace(part);
  }
}

// Where C is large and B small, C is written row by row: a panel's columns alone lie pages apart.
void MultiplyByRows(const Product& product) {
  Product part = product;
  for (std::size_t row = 0; row < product.rows; row += kRowsMax) {
    const std::size_t left = product.rows - row;
    part.rows = left < kRowsMax ? left : kRowsMax;
    part.a = product.a + row * product.row_stride;
    part.c = product.c + row * product.c_stride;
    MultiplyPacked(part);
  }
}

void Multiply(const Product& product) {
  constexpr std::size_t kLargeC = std::size_t{1} << 17;
  constexpr std::size_t kSmallB = std::size_t{1} << 17;
  const std::size_t depth = product.segments * product.segment_length;
  if (product.packed && product.rows * product.c_stride >= kLargeC &&
      depth * product.columns <= kSmallB)
    MultiplyByRows(product);
  else if (product.packed)
    MultiplyPacked(product);
  else if (product.segments == 1)
    MultiplyByDepth(product);
  else
    MultiplyInPlace(product);
}

// to[k][j] = b[j][k] for 4 by 4 values.
inline void Transpose4(const float* b, std::size_t stride, float* to, std::size_t to_stride) {
  const Four r0 = *reinterpret_cast<const UnalignedFour*>(b);
  const Four r1 = *reinterpret_cast<const UnalignedFour*>(b + stride);
  const Four r2 = *reinterpret_cast<const UnalignedFour*>(b + 2 * stride);
  const Four r3 = *reinterpret_cast<const UnalignedFour*>(b + 3 * stride);
  const Four low01 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5);
  const Four high01 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
  const Four low23 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
  const Four high23 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
  *reinterpret_cast<UnalignedFour*>(to) = __builtin_shufflevector(low01, low23, 0, 1, 4, 5);
  *reinterpret_cast<UnalignedFour*>(to + to_stride) =
      __builtin_shufflevector(low01, low23, 2, 3, 6, 7);
  *reinterpret_cast<UnalignedFour*>(to + 2 * to_stride) =
      __builtin_shufflevector(high01, high23, 0, 1, 4, 5);
  *reinterpret_cast<UnalignedFour*>(to + 3 * to_stride) =
      __builtin_shufflevector(high01, high23, 2, 3, 6, 7);
}

// One panel from a B whose columns are contiguous in k.
void PackTransposed(const Panels& source, std::size_t first, std::size_t width, float* panel) {
  const float* b = source.b + first * source.column_stride;
  const std::size_t depth4 = source.depth / 4 * 4;
  const std::size_t width4 = width / 4 * 4;
  for (std::size_t k = 0; k < depth4; k += 4) {
    for (std::size_t j = 0; j < width4; j += 4) {
      Transpose4(b + j * source.column_stride + k, source.column_stride, panel + k * kPanel + j,
                 kPanel);
    }
  }
  for (std::size_t k = 0; k < source.depth; ++k) {
    for (std::size_t j = k < depth4 ? width4 : 0; j < width; ++j) {
      panel[k * kPanel + j] = b[j * source.column_stride + k];
    }
    for (std::size_t j = width; j < kPanel; ++j) panel[k * kPanel + j] = 0;
  }
}

void PackRows(const Panels& source, std::size_t first, std::size_t width, float* panel) {
  for (std::size_t k = 0; k < source.depth; ++k) {
    const float* b = source.b + k * source.k_stride + first * source.column_stride;
    float* row = panel + k * kPanel;
    if (width == kPanel && source.column_stride == 1) {
      for (int v = 0; v < kPanelVectors; ++v) Store(row + v * kLanes, Load(b + v * kLanes));
      continue;
    }
    for (std::size_t j = 0; j < kPanel; ++j) row[j] = j < width ? b[j * source.column_stride] : 0;
  }
}

void PackPanels(const Panels& source, float* panels) {
  for (std::size_t first = 0; first < source.columns; first += kPanel) {
    const std::size_t left = source.columns - first;
    const std::size_t width = left < kPanel ? left : kPanel;
    if (source.k_stride == 1 && source.column_stride != 1)
      PackTransposed(source, first, width, panels);
    else
      PackRows(source, first, width, panels);
    panels += source.panel_floats != 0 ? source.panel_floats : source.depth * kPanel;
  }
}

void TransposeMatrix(const float* in, std::size_t rows, std::size_t columns, float* out) {
  const std::size_t rows4 = rows / 4 * 4;
  const std::size_t columns4 = columns / 4 * 4;
  for (std::size_t i = 0; i < rows4; i += 4) {
    for (std::size_t j = 0; j < columns4; j += 4)
      Transpose4(in + i * columns + j, columns, out + j * rows + i, rows);
  }
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t j = i < rows4 ? columns4 : 0; j < columns; ++j)
      out[j * rows + i] = in[i * columns + j];
  }
}

void AddColumns(const float* matrix, std::size_t rows, std::size_t columns, float* sums) {
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t j = 0; j < columns; ++j) sums[j] += matrix[i * columns + j];
  }
}

void Relu(const float* input, std::size_t count, float* output) {
  for (std::size_t i = 0; i < count; ++i) output[i] = input[i] < 0 ? 0 : input[i];
}

void ReluBackward(const float* output, std::size_t count, float* gradient) {
  for (std::size_t i = 0; i < count; ++i) gradient[i] = output[i] > 0 ? gradient[i] : 0;
}

void Maximum(const float* in, std::size_t count, float* out) {
  for (std::size_t i = 0; i < count; ++i) out[i] = in[i] > out[i] ? in[i] : out[i];
}

void Claim(const float* input, const float* maximum, std::size_t count, float* left,
           float* gradient) {
  for (std::size_t i = 0; i < count; ++i) {
    const bool mine = input[i] == maximum[i];
    gradient[i] += mine ? left[i] : 0;
    left[i] = mine ? 0 : left[i];
  }
}

void AddScaled(const float* in, float factor, std::size_t count, float* out) {
  for (std::size_t i = 0; i < count; ++i) out[i] += factor * in[i];
}

void Scale(float factor, std::size_t count, float* out) {
  for (std::size_t i = 0; i < count; ++i) out[i] *= factor;
}

void AddProximal(const float* parameters, const float* anchor, std::size_t count, float factor,
                 float* gradient) {
  for (std::size_t i = 0; i < count; ++i) gradient[i] += factor * (parameters[i] - anchor[i]);
}

// Eight sums side by side, so that the order is the same for every width of register.
double SumOfSquares(const float* values, std::size_t count) {
  double sums[8] = {};
  std::size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    for (std::size_t lane = 0; lane < 8; ++lane) {
      const double value = static_cast<double>(values[i + lane]);
      sums[lane] += value * value;
    }
  }
  for (std::size_t lane = 0; i < count; ++i, ++lane) {
    sums[lane] += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  }
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

void Sgd(const SgdUpdate& update) {
  float* w = update.parameters;
  for (std::size_t i = 0; i < update.count; ++i) {
    float step = update.scale * update.gradient[i] + update.decay * w[i];
    if (update.velocity != nullptr) {
      step += update.momentum * update.velocity[i];
      update.velocity[i] = step;
    }
    w[i] -= update.rate * step;
  }
}

constexpr FloatKernels kTable = {.panel_columns = kPanel,
                                 .rows_max = kRowsMax,
                                 .pack_panels = PackPanels,
                                 .multiply = Multiply,
                                 .transpose = TransposeMatrix,
                                 .add_columns = AddColumns,
                                 .relu = Relu,
                                 .relu_backward = ReluBackward,
                                 .maximum = Maximum,
                                 .claim = Claim,
                                 .add_scaled = AddScaled,
                                 .scale = Scale,
                                 .add_proximal = AddProximal,
                                 .sum_of_squares = SumOfSquares,
                                 .sgd = Sgd};

}  // namespace

namespace FL_ISA {
const FloatKernels& FloatTable() {
  return kTable;
}
}  // namespace FL_ISA

}  // namespace fl::nn::kernels
