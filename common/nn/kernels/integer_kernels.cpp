// Compiled once for each instruction set with FL_ISA as its name (CMakeLists.txt). No header with
// inline functions that the linker could merge may be included here.
#include "fl/common/nn/kernels/integer_kernels.h"

#if defined(FL_ISA_avx2) || defined(FL_ISA_avxvnni) || defined(FL_ISA_avx512vnni)
#include <immintrin.h>
#endif

namespace fl::nn::kernels {
namespace {

constexpr std::size_t kGroupBytes = kIntegerPanel * kIntegerGroup;

inline std::int32_t FourOf(const std::int8_t* a) {
  std::int32_t four = 0;
  __builtin_memcpy(&four, a, 4);
  return four;
}

// Sums of one row over the 16 channels of a panel: Clear, MultiplyAdd, Write.
#if defined(FL_ISA_avx512vnni)
constexpr std::int32_t kOffset = 128;
constexpr int kRowsMax = 14;
struct Sums {
  __m512i all;
  void Clear() { all = _mm512_setzero_si512(); }
  void MultiplyAdd(std::int32_t four, const std::int8_t* b) {
    const __m512i a = _mm512_set1_epi32(four ^ static_cast<std::int32_t>(0x80808080U));
    all = _mm512_dpbusd_epi32(all, a, _mm512_loadu_si512(b));
  }
  void Write(std::int32_t* c) const { _mm512_storeu_si512(c, all); }
};
#elif defined(FL_ISA_avxvnni) || defined(FL_ISA_avx2)
constexpr int kRowsMax = 4;
struct Sums {
  __m256i low;
  __m256i high;
  void Clear() { low = high = _mm256_setzero_si256(); }
  void MultiplyAdd(std::int32_t four, const std::int8_t* b) {
    const __m256i* panel = reinterpret_cast<const __m256i*>(b);
    low = Dot(low, four, _mm256_loadu_si256(panel));
    high = Dot(high, four, _mm256_loadu_si256(panel + 1));
  }
  void Write(std::int32_t* c) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(c), low);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(c) + 1, high);
  }

 private:
#if defined(FL_ISA_avxvnni)
  static __m256i Dot(__m256i sum, std::int32_t four, __m256i b) {
    return _mm256_dpbusd_avx_epi32(
        sum, _mm256_set1_epi32(four ^ static_cast<std::int32_t>(0x80808080U)), b);
  }
#else
  // |a| times b with a's sign: |a| <= 128 and |b| <= 127, so a pair's sum is at most 32512 and
  // never saturates.
  static __m256i Dot(__m256i sum, std::int32_t four, __m256i b) {
    const __m256i a = _mm256_set1_epi32(four);
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8(b, a));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
#endif
};
#if defined(FL_ISA_avxvnni)
constexpr std::int32_t kOffset = 128;
#else
constexpr std::int32_t kOffset = 0;
#endif
#else
constexpr std::int32_t kOffset = 0;
constexpr int kRowsMax = 2;
typedef std::int32_t Words __attribute__((vector_size(16)));
typedef std::int16_t Halves __attribute__((vector_size(16)));
typedef std::int32_t UnalignedWords __attribute__((vector_size(16), aligned(1), may_alias));
struct Sums {
  Words parts[4];
  void Clear() {
    for (Words& part : parts) part = Words{};
  }
  // A word holds a channel's four weights. The products of bytes 0 and 2, and of 1 and 3, are taken
  // in 16 bits, where a pair's sum is at most 32512.
  void MultiplyAdd(std::int32_t four, const std::int8_t* b) {
    const Halves a = reinterpret_cast<Halves>(Words{four, four, four, four});
    const Halves even = (a << 8) >> 8;
    const Halves odd = a >> 8;
#pragma GCC unroll 4
    for (std::size_t i = 0; i < 4; ++i) {
      const Words words = *reinterpret_cast<const UnalignedWords*>(b + i * sizeof(Words));
      const Halves w = reinterpret_cast<Halves>(words);
      const Words pairs = reinterpret_cast<Words>(((w << 8) >> 8) * even + (w >> 8) * odd);
      parts[i] += ((pairs << 16) >> 16) + (pairs >> 16);
    }
  }
  void Write(std::int32_t* c) const {
    for (std::size_t i = 0; i < 4; ++i) {
      *reinterpret_cast<UnalignedWords*>(c + i * 4) = parts[i];
    }
  }
};
#endif

template <int MR, int NP>
void Tile(const IntegerProduct& product, std::size_t row, std::size_t panel) {
  const std::size_t panel_bytes = product.segments * product.segment_groups * kGroupBytes;
  const std::int8_t* b = product.b + panel * panel_bytes;
  Sums sums[MR][NP];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 8
    for (int p = 0; p < NP; ++p) sums[i][p].Clear();
  }
  for (std::size_t segment = 0; segment < product.segments; ++segment) {
    const std::int8_t* a = product.a + row * product.row_stride + segment * product.segment_stride;
    for (std::size_t group = 0; group < product.segment_groups; ++group) {
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i) {
        const std::int32_t four = FourOf(a + static_cast<std::size_t>(i) * product.row_stride);
#pragma GCC unroll 8
        for (int p = 0; p < NP; ++p)
          sums[i][p].MultiplyAdd(four, b + static_cast<std::size_t>(p) * panel_bytes);
      }
      a += kIntegerGroup;
      b += kGroupBytes;
    }
  }
  const std::size_t columns = product.panels * kIntegerPanel;
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
    std::int32_t* c =
        product.c + (row + static_cast<std::size_t>(i)) * columns + panel * kIntegerPanel;
#pragma GCC unroll 8
    for (int p = 0; p < NP; ++p) sums[i][p].Write(c + static_cast<std::size_t>(p) * kIntegerPanel);
  }
}

using TileFunction = void (*)(const IntegerProduct&, std::size_t, std::size_t);

template <int NP>
TileFunction TileOf(std::size_t rows) {
  switch (rows) {
    case 1:
      return Tile<1, NP>;
    case 2:
      return Tile<2, NP>;
#if !defined(FL_ISA_generic)
    case 3:
      return Tile<3, NP>;
#endif
#if defined(FL_ISA_avx512vnni)
    case 4:
      return Tile<4, NP>;
    case 5:
      return Tile<5, NP>;
    case 6:
      return Tile<6, NP>;
    case 7:
      return Tile<7, NP>;
    case 8:
      return Tile<8, NP>;
    case 9:
      return Tile<9, NP>;
    case 10:
      return Tile<10, NP>;
    case 11:
      return Tile<11, NP>;
    case 12:
      return Tile<12, NP>;
    case 13:
      return Tile<13, NP>;
#endif
    default:
      return Tile<kRowsMax, NP>;
  }
}

#if defined(FL_ISA_avx512vnni)
constexpr std::size_t kPanelsAtOnce = 2;
#else
constexpr std::size_t kPanelsAtOnce = 1;
#endif

// Rows in tiles of nearly equal height; a row alone takes four panels, so that its sums do not wait
// for each other.
void Multiply(const IntegerProduct& product) {
  const std::size_t blocks = (product.rows + kRowsMax - 1) / kRowsMax;
  std::size_t row = 0;
  for (std::size_t block = 0; block < blocks; ++block) {
    const std::size_t rows = (product.rows - row) / (blocks - block);
    std::size_t panel = 0;
    for (; rows == 1 && panel + 4 <= product.panels; panel += 4) Tile<1, 4>(product, row, panel);
    for (; panel + kPanelsAtOnce <= product.panels; panel += kPanelsAtOnce) {
      TileOf<kPanelsAtOnce>(rows)(product, row, panel);
    }
    for (; panel < product.panels; ++panel) TileOf<1>(rows)(product, row, panel);
    row += rows;
  }
}

// Adding and taking away 1.5 * 2^23 rounds half to even, as long as the value is below 2^22, which
// the clamp ensures.
void Requantize(const std::int32_t* sums, const Requantization& to, std::int8_t* out) {
  constexpr float kRound = 12582912.0F;
  for (std::size_t j = 0; j < to.columns; ++j) {
    float value = static_cast<float>(sums[j] + to.bias[j]) * to.multiplier[j];
    value = value > to.low ? value : to.low;
    value = value < to.high ? value : to.high;
    const float rounded = (value + kRound) - kRound;
    out[j] = static_cast<std::int8_t>(static_cast<std::int32_t>(rounded) + to.zero_point);
  }
}

void Maximum(const std::int8_t* in, std::size_t count, std::int8_t* out) {
  for (std::size_t i = 0; i < count; ++i) out[i] = in[i] > out[i] ? in[i] : out[i];
}

constexpr IntegerKernels kTable = {kOffset, Multiply, Requantize, Maximum};

}  // namespace

namespace FL_ISA {
const IntegerKernels& IntegerTable() {
  return kTable;
}
}  // namespace FL_ISA

}  // namespace fl::nn::kernels
