#include "fl/compression/codecs/factor_levels.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <span>
#include <string>

#include "fl/compression/entropy/range_coder.h"

namespace fl::internal {
namespace {

constexpr int kScaleOne = 192;  // The index of the scale 1.
constexpr std::array<float, 4> kFourths = {1.0F, 0x1.306FE0p0F, 0x1.6A09E6p0F, 0x1.AE89FAp0F};

bool AllZero(std::span<const std::int8_t> levels) {
  return std::ranges::all_of(levels, [](std::int8_t level) { return level == 0; });
}

// Either way through the code: a coder has bool Bit(AdaptiveBit&, bool) and uint32 Uniform(uint32,
// bits), uint32 Number(AdaptiveNumber&, uint32, max), which take what is to be written, or
// anything, and give back what is written or read.
struct Writing {
  RangeEncoder& encoder;
  bool Bit(AdaptiveBit& model, bool bit) {
    encoder.Encode(model, bit);
    return bit;
  }
  std::uint32_t Uniform(std::uint32_t value, unsigned bits) {
    encoder.EncodeUniform(value, bits);
    return value;
  }
  std::uint32_t Number(AdaptiveNumber& model, std::uint32_t value, std::uint32_t max) {
    model.Encode(encoder, value, max);
    return value;
  }
};
struct Reading {
  RangeDecoder& decoder;
  bool Bit(AdaptiveBit& model, bool /*bit*/) { return decoder.Decode(model); }
  std::uint32_t Uniform(std::uint32_t /*value*/, unsigned bits) {
    return decoder.DecodeUniform(bits);
  }
  std::uint32_t Number(AdaptiveNumber& model, std::uint32_t /*value*/, std::uint32_t max) {
    return model.Decode(decoder, max);
  }
};

// What is learnt of one side's levels while they are read or written.
class SideModel {
 public:
  explicit SideModel(std::size_t length) : nonzero_before_(length) {}

  template <typename Coder>
  void Run(Coder coder, std::span<std::int8_t> levels) {
    std::size_t previous = 0;
    for (std::size_t i = 0; i < levels.size(); ++i) {
      const std::size_t row = std::min<std::size_t>(nonzero_before_[i], 2);
      const bool nonzero = coder.Bit(nonzero_[row * 2 + previous], levels[i] != 0);
      previous = nonzero ? 1 : 0;
      if (!nonzero) {
        levels[i] = 0;
        continue;
      }
      const bool negative = coder.Uniform(levels[i] < 0 ? 1 : 0, 1) != 0;
      const auto rest =
          coder.Number(magnitude_, static_cast<std::uint32_t>(std::abs(int{levels[i]}) - 1),
                       kFactorLevelMax - 1);
      const auto magnitude = static_cast<int>(rest) + 1;
      levels[i] = static_cast<std::int8_t>(negative ? -magnitude : magnitude);
      if (nonzero_before_[i] < 255) ++nonzero_before_[i];
    }
  }

 private:
  std::vector<std::uint8_t> nonzero_before_;  // Levels of the same row in earlier directions.
  std::array<AdaptiveBit, 6> nonzero_{};
  AdaptiveNumber magnitude_;
};

template <typename Coder>
void Run(Coder coder, FactorLevels& levels) {
  SideModel left(levels.rows);
  SideModel right(levels.columns);
  for (std::size_t k = 0; k < levels.scales.size(); ++k) {
    levels.scales[k] = static_cast<std::uint8_t>(coder.Uniform(levels.scales[k], 8));
    if (levels.scales[k] == 0) continue;
    left.Run(coder, std::span(levels.left).subspan(k * levels.rows, levels.rows));
    right.Run(coder, std::span(levels.right).subspan(k * levels.columns, levels.columns));
  }
}

// Takes out directions of which a factor is zero.
void DropEmpty(FactorLevels& levels) {
  for (std::size_t k = 0; k < levels.scales.size(); ++k) {
    const auto left = std::span(levels.left).subspan(k * levels.rows, levels.rows);
    const auto right = std::span(levels.right).subspan(k * levels.columns, levels.columns);
    if (levels.scales[k] != 0 && !AllZero(left) && !AllZero(right)) continue;
    levels.scales[k] = 0;
    std::ranges::fill(left, std::int8_t{0});
    std::ranges::fill(right, std::int8_t{0});
  }
}

void Halve(std::span<std::int8_t> levels) {
  for (std::int8_t& level : levels) level = static_cast<std::int8_t>(level / 2);
}

}  // namespace

float FactorScale(std::uint8_t index) {
  if (index == 0) return 0;
  const int fourths = index - kScaleOne + 256;
  return std::ldexp(kFourths[static_cast<std::size_t>(fourths % 4)], fourths / 4 - 64);
}

std::uint8_t FactorScaleIndex(float scale) {
  std::uint8_t best = 1;
  while (best < 255 &&
         scale * scale > FactorScale(best) * FactorScale(static_cast<std::uint8_t>(best + 1)))
    ++best;
  return best;
}

std::size_t FactorBytesMax(std::size_t rows, std::size_t columns, std::size_t rank) {
  return rank * (rows + columns + 1) + 4;
}

void EncodeFactors(FactorLevels& levels, ByteWriter& out) {
  const std::size_t start = out.size();
  const std::size_t bytes_max = FactorBytesMax(levels.rows, levels.columns, levels.scales.size());
  for (;;) {
    DropEmpty(levels);
    RangeEncoder encoder(out);
    Run(Writing{encoder}, levels);
    encoder.Finish();
    if (out.size() - start <= bytes_max) return;
    out.bytes().resize(start);
    Halve(levels.left);
    Halve(levels.right);
  }
}

Result<> DecodeFactors(ByteSpan bytes, FactorLevels& levels) {
  RangeDecoder decoder(bytes);
  Run(Reading{decoder}, levels);
  FL_TRY_OK(decoder.Finish());
  for (std::size_t k = 0; k < levels.scales.size(); ++k) {
    if (levels.scales[k] == 0) continue;
    if (AllZero(std::span(levels.left).subspan(k * levels.rows, levels.rows)) ||
        AllZero(std::span(levels.right).subspan(k * levels.columns, levels.columns))) {
      return Error{ErrorCode::kMalformed,
                   "direction " + std::to_string(k) + ": a scale without levels"};
    }
  }
  return {};
}

}  // namespace fl::internal
