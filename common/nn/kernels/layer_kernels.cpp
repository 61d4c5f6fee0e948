// Compiled once for each instruction set with FL_ISA as its name (CMakeLists.txt). No header with
// inline functions may be included here: the linker would merge them across the builds.
#include "fl/common/nn/kernels/layer_kernels.h"

namespace fl::nn::kernels {
namespace {

#if defined(__AVX512F__)
constexpr std::size_t kLanes = 16;
#elif defined(__AVX__)
constexpr std::size_t kLanes = 8;
#else
constexpr std::size_t kLanes = 4;
#endif
constexpr int kPixelsAtOnce = 4;

template <std::size_t N>
struct Lanes {
  typedef float Vector __attribute__((vector_size(N * 4)));
  typedef float Unaligned __attribute__((vector_size(N * 4), aligned(4), may_alias));
  static Vector Load(const float* from) { return *reinterpret_cast<const Unaligned*>(from); }
  static void Store(float* to, Vector value) { *reinterpret_cast<Unaligned*>(to) = value; }
};
template <>
struct Lanes<1> {
  typedef float Vector;
  static Vector Load(const float* from) { return *from; }
  static void Store(float* to, Vector value) { *to = value; }
};

// N channels from `first` on of PIXELS output pixels.
template <std::size_t N, int PIXELS>
void DepthwisePixels(const DepthwiseRow& row, std::size_t pixel, std::size_t first) {
  using Channels = Lanes<N>;
  typename Channels::Vector sums[PIXELS];
  for (int i = 0; i < PIXELS; ++i) {
    sums[i] = typename Channels::Vector{};
    if (row.bias != nullptr) sums[i] = Channels::Load(row.bias + first);
  }
  const std::size_t step = row.stride * row.channels;
  const float* weight = row.weight + first;
  for (std::size_t y = 0; y < row.kernel_height; ++y) {
    const float* input = row.input + y * row.row + pixel * step + first;
    for (std::size_t x = 0; x < row.kernel_width; ++x) {
      const auto factor = Channels::Load(weight);
#pragma GCC unroll 4
      for (int i = 0; i < PIXELS; ++i)
        sums[i] += Channels::Load(input + static_cast<std::size_t>(i) * step) * factor;
      input += row.channels;
      weight += row.channels;
    }
  }
  for (int i = 0; i < PIXELS; ++i) {
    auto sum = sums[i];
    if (row.relu) sum = sum < typename Channels::Vector{} ? typename Channels::Vector{} : sum;
    Channels::Store(row.output + (pixel + static_cast<std::size_t>(i)) * row.channels + first, sum);
  }
}

template <std::size_t N>
std::size_t DepthwiseChannels(const DepthwiseRow& row, std::size_t first) {
  for (; first + N <= row.channels; first += N) {
    std::size_t pixel = 0;
    for (; pixel + kPixelsAtOnce <= row.width; pixel += kPixelsAtOnce)
      DepthwisePixels<N, kPixelsAtOnce>(row, pixel, first);
    for (; pixel < row.width; ++pixel) DepthwisePixels<N, 1>(row, pixel, first);
  }
  return first;
}

void Depthwise(const DepthwiseRow& row) {
  std::size_t first = DepthwiseChannels<kLanes>(row, 0);
  if constexpr (kLanes > 4) first = DepthwiseChannels<4>(row, first);
  DepthwiseChannels<1>(row, first);
}

template <std::size_t N>
std::size_t DepthwiseWeightChannels(const DepthwiseWeightRow& call, std::size_t first) {
  using Channels = Lanes<N>;
  const DepthwiseRow& row = call.row;
  const std::size_t step = row.stride * row.channels;
  for (; first + N <= row.channels; first += N) {
    float* to = call.weight_gradient + first;
    for (std::size_t y = 0; y < row.kernel_height; ++y) {
      for (std::size_t x = 0; x < row.kernel_width; ++x, to += row.channels) {
        const float* input = row.input + y * row.row + x * row.channels + first;
        const float* gradient = call.output_gradient + first;
        auto sum = Channels::Load(to);
        for (std::size_t i = 0; i < row.width; ++i, input += step, gradient += row.channels)
          sum += Channels::Load(input) * Channels::Load(gradient);
        Channels::Store(to, sum);
      }
    }
  }
  return first;
}

void DepthwiseWeight(const DepthwiseWeightRow& call) {
  std::size_t first = DepthwiseWeightChannels<kLanes>(call, 0);
  if constexpr (kLanes > 4) first = DepthwiseWeightChannels<4>(call, first);
  DepthwiseWeightChannels<1>(call, first);
}

void ApplyAffine(const Affine& values) {
  for (std::size_t i = 0; i < values.rows; ++i) {
    const float* in = values.in + i * values.columns;
    float* out = values.out + i * values.columns;
    if (values.x == nullptr) {
      for (std::size_t j = 0; j < values.columns; ++j)
        out[j] = values.scale[j] * in[j] + values.shift[j];
      continue;
    }
    const float* x = values.x + i * values.columns;
    for (std::size_t j = 0; j < values.columns; ++j)
      out[j] = values.scale[j] * in[j] + values.slope[j] * x[j] + values.shift[j];
  }
}

void AddCentered(const CenteredSums& values) {
  for (std::size_t i = 0; i < values.rows; ++i) {
    const float* x = values.x + i * values.columns;
    if (values.factor == nullptr) {
      for (std::size_t j = 0; j < values.columns; ++j) {
        const float centered = x[j] - values.mean[j];
        values.sums[j] += centered * centered;
      }
      continue;
    }
    const float* factor = values.factor + i * values.columns;
    for (std::size_t j = 0; j < values.columns; ++j)
      values.sums[j] += (x[j] - values.mean[j]) * factor[j];
  }
}

void NormalizeRows(const NormalizedRows& call) {
  const float share = 1.0F / static_cast<float>(call.columns);
  for (std::size_t i = 0; i < call.rows; ++i) {
    const float* x = call.input + i * call.columns;
    float sum = 0;
    for (std::size_t j = 0; j < call.columns; ++j) sum += x[j];
    const float mean = sum * share;
    float squares = 0;
    for (std::size_t j = 0; j < call.columns; ++j) squares += (x[j] - mean) * (x[j] - mean);
    const float inverse = 1.0F / __builtin_sqrtf(squares * share + call.epsilon);
    if (call.moments != nullptr) {
      call.moments[2 * i] = mean;
      call.moments[2 * i + 1] = inverse;
    }
    float* y = call.output + i * call.columns;
    for (std::size_t j = 0; j < call.columns; ++j)
      y[j] = (x[j] - mean) * inverse * call.gamma[j] + call.beta[j];
  }
}

// With n = (x - mean) * inverse and g = gamma * dy: dx = inverse * (g - mean(g) - n * mean(g * n)).
void NormalizeRowsBackward(const NormalizedRowsGradient& call) {
  const float share = 1.0F / static_cast<float>(call.columns);
  for (std::size_t i = 0; i < call.rows; ++i) {
    const float* x = call.input + i * call.columns;
    const float* dy = call.output_gradient + i * call.columns;
    const float mean = call.moments[2 * i];
    const float inverse = call.moments[2 * i + 1];
    float sum = 0;
    float product = 0;
    for (std::size_t j = 0; j < call.columns; ++j) {
      const float normalized = (x[j] - mean) * inverse;
      call.gamma_gradient[j] += dy[j] * normalized;
      call.beta_gradient[j] += dy[j];
      sum += call.gamma[j] * dy[j];
      product += call.gamma[j] * dy[j] * normalized;
    }
    if (call.input_gradient == nullptr) continue;
    float* dx = call.input_gradient + i * call.columns;
    for (std::size_t j = 0; j < call.columns; ++j) {
      const float normalized = (x[j] - mean) * inverse;
      dx[j] = inverse * (call.gamma[j] * dy[j] - sum * share - normalized * (product * share));
    }
  }
}

void Multiply(const float* a, const float* b, std::size_t count, float* out) {
  for (std::size_t i = 0; i < count; ++i) out[i] = a[i] * b[i];
}

void MultiplyAdd(const float* a, const float* b, std::size_t count, float* out) {
  for (std::size_t i = 0; i < count; ++i) out[i] += a[i] * b[i];
}

inline float Clip(float x, float low, float high) {
  const float above = x > low ? x : low;
  return above < high ? above : high;
}

void Relu6(const float* input, std::size_t count, float* output) {
  for (std::size_t i = 0; i < count; ++i) output[i] = Clip(input[i], 0, 6);
}

void Relu6Backward(const float* /*input*/, const float* output, std::size_t count,
                   float* gradient) {
  for (std::size_t i = 0; i < count; ++i) {
    const bool inside = (output[i] > 0) & (output[i] < 6);
    gradient[i] = inside ? gradient[i] : 0;
  }
}

void HardSwish(const float* input, std::size_t count, float* output) {
  for (std::size_t i = 0; i < count; ++i)
    output[i] = input[i] * Clip(input[i] + 3, 0, 6) * (1.0F / 6);
}

void HardSwishBackward(const float* input, const float* /*output*/, std::size_t count,
                       float* gradient) {
  for (std::size_t i = 0; i < count; ++i) {
    const float inside = (2 * input[i] + 3) * (1.0F / 6);
    const float slope = input[i] < 3 ? inside : 1.0F;
    gradient[i] *= input[i] > -3 ? slope : 0.0F;
  }
}

// e^x to about two units in the last place (after Cephes): x = n ln 2 + r, a polynomial of r, and n
// put into the exponent's bits. Arguments beyond +-87 count as that.
inline float Exponential(float x) {
  constexpr float kRound = 12582912.0F;
  x = Clip(x, -87, 87);
  const float shifted = x * 1.44269504F + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693359375F) + n * 2.12194440e-4F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * (r * r) + r + 1;
  const int exponent = (static_cast<int>(n) + 127) << 23;
  return p * __builtin_bit_cast(float, exponent);
}

void Sigmoid(const float* input, std::size_t count, float* output) {
  for (std::size_t i = 0; i < count; ++i) output[i] = 1 / (1 + Exponential(-input[i]));
}

void SigmoidBackward(const float* /*input*/, const float* output, std::size_t count,
                     float* gradient) {
  for (std::size_t i = 0; i < count; ++i) gradient[i] *= output[i] * (1 - output[i]);
}

void Tanh(const float* input, std::size_t count, float* output) {
  for (std::size_t i = 0; i < count; ++i) output[i] = 2 / (1 + Exponential(-2 * input[i])) - 1;
}

void TanhBackward(const float* /*input*/, const float* output, std::size_t count, float* gradient) {
  for (std::size_t i = 0; i < count; ++i) gradient[i] *= 1 - output[i] * output[i];
}

constexpr LayerKernels kTable = {.depthwise = Depthwise,
                                 .depthwise_weight = DepthwiseWeight,
                                 .affine = ApplyAffine,
                                 .add_centered = AddCentered,
                                 .normalize_rows = NormalizeRows,
                                 .normalize_rows_backward = NormalizeRowsBackward,
                                 .multiply = Multiply,
                                 .multiply_add = MultiplyAdd,
                                 .relu6 = {Relu6, Relu6Backward},
                                 .hard_swish = {HardSwish, HardSwishBackward},
                                 .sigmoid = {Sigmoid, SigmoidBackward},
                                 .tanh = {Tanh, TanhBackward}};

}  // namespace

namespace FL_ISA {
const LayerKernels& LayerTable() {
  return kTable;
}
}  // namespace FL_ISA

}  // namespace fl::nn::kernels
