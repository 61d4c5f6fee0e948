#pragma once

#include "fl/common/nn/kernels/integer_finish.h"
#include "fl/common/nn/kernels/integer_kernels.h"
#include "fl/common/nn/kernels/integer_lanes.h"

// The product of one row with weights that lie by input (InputWeights). A large layer's weights
// come from a far cache or from memory, which takes longer than to multiply them: those of inputs
// that are zero, as a ReLU leaves many, are not fetched.
namespace fl::nn::kernels {
namespace {

#if defined(__AVX512VNNI__)

// The inputs that are not zero, one after the other.
struct LiveInputs {
  std::uint32_t* places;
  std::uint8_t* values;
  std::size_t count;
};

// After the last live input come as many zeros as are read ahead.
inline void FindLive(const std::uint8_t* a, std::size_t inputs, LiveInputs& live) {
  const __m512i order = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (std::size_t i = 0; i < inputs; i += kLanes) {
    const std::size_t left = inputs - i;
    const auto within = static_cast<__mmask16>(left >= kLanes ? 0xFFFFU : (1U << left) - 1);
    const __m512i values = _mm512_maskz_cvtepu8_epi32(
        within, _mm_loadu_si128(reinterpret_cast<const __m128i*>(a + i)));
    const __mmask16 mask = _mm512_test_epi32_mask(values, values);
    const __m512i places = _mm512_add_epi32(order, _mm512_set1_epi32(static_cast<int>(i)));
    _mm512_storeu_si512(live.places + live.count, _mm512_maskz_compress_epi32(mask, places));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(live.values + live.count),
                     _mm512_cvtepi32_epi8(_mm512_maskz_compress_epi32(mask, values)));
    live.count += static_cast<std::size_t>(__builtin_popcount(mask));
  }
  for (std::size_t k = 0; k < 2 * kIntegerGroup; ++k) {
    live.places[live.count + k] = live.count == 0 ? 0 : live.places[live.count - 1];
    live.values[live.count + k] = 0;
  }
}

// Adds four inputs' products to all sums, and fetches the weights of the next four.
inline void AddFour(const std::int8_t* const (&rows)[8], std::int32_t four, std::size_t stride,
                    std::int32_t* sums) {
  const __m512i a = _mm512_set1_epi32(four);
  for (std::size_t c = 0; c < stride; c += 64) {
#pragma GCC unroll 4
    for (std::size_t k = 4; k < 8; ++k) __builtin_prefetch(rows[k] + c);
    const __m512i w0 = _mm512_loadu_si512(rows[0] + c);
    const __m512i w1 = _mm512_loadu_si512(rows[1] + c);
    const __m512i w2 = _mm512_loadu_si512(rows[2] + c);
    const __m512i w3 = _mm512_loadu_si512(rows[3] + c);
    const __m512i low01 = _mm512_unpacklo_epi8(w0, w1);
    const __m512i high01 = _mm512_unpackhi_epi8(w0, w1);
    const __m512i low23 = _mm512_unpacklo_epi8(w2, w3);
    const __m512i high23 = _mm512_unpackhi_epi8(w2, w3);
    const __m512i together[4] = {
        _mm512_unpacklo_epi16(low01, low23), _mm512_unpackhi_epi16(low01, low23),
        _mm512_unpacklo_epi16(high01, high23), _mm512_unpackhi_epi16(high01, high23)};
#pragma GCC unroll 4
    for (std::size_t k = 0; k < 4; ++k) {
      std::int32_t* to = sums + c + k * kLanes;
      _mm512_storeu_si512(to, _mm512_dpbusd_epi32(_mm512_loadu_si512(to), a, together[k]));
    }
  }
}

inline void MultiplyByInput(const IntegerProduct& product, const InputWeights& weights) {
  LiveInputs live = {weights.places, weights.values, 0};
  FindLive(product.a + product.row_offsets[0], weights.inputs, live);
  for (std::size_t c = 0; c < weights.stride; ++c)
    weights.sums[c] = c < product.panels * kIntegerPanel ? product.to.bias[c] : 0;
  for (std::size_t i = 0; i < live.count; i += kIntegerGroup) {
    const std::int8_t* rows[2 * kIntegerGroup];
    for (std::size_t k = 0; k < 2 * kIntegerGroup; ++k)
      rows[k] = weights.weights + std::size_t{live.places[i + k]} * weights.stride;
    AddFour(rows, FourOf(live.values + i), weights.stride, weights.sums);
  }
  for (std::size_t panel = 0; panel < product.panels; ++panel) {
    const Ints total[1][1] = {{LoadInts(weights.sums + panel * kIntegerPanel)}};
    Finish<1, 1>(product, 0, panel, total);
  }
}

inline constexpr auto kMultiplyByInput = &MultiplyByInput;

#else

inline constexpr void (*kMultiplyByInput)(const IntegerProduct&, const InputWeights&) = nullptr;

#endif

}  // namespace
}  // namespace fl::nn::kernels
