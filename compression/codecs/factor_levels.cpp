#include "fl/compression/codecs/factor_levels.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <span>
#include <string>

#include "fl/common/base/error_detail.h"
#include "fl/compression/entropy/range_coder.h"

namespace fl::internal {
namespace {

constexpr std::size_t kLagMax = 256;
constexpr std::uint32_t kAnyLag = 16384;  // The chance, of 65536, that a side has a lag.
constexpr int kScaleOne = 192;            // The index of the scale 1.
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

int SignOf(int level) {
  return (level > 0 ? 1 : 0) - (level < 0 ? 1 : 0);
}

// What is learnt of one side's levels while they are read or written.
class SideModel {
 public:
  SideModel(std::size_t length, std::size_t lag) : lag_(lag), nonzero_before_(length) {
    for (std::size_t row = 0; row < kRows; ++row) {
      for (std::size_t near = 0; near < kNear; ++near)
        nonzero_[row][near] = AdaptiveBit((lag > 0 ? kNonzeroNear : kNonzero)[row][near], kSeen);
    }
    for (std::size_t i = 0; i < against_.size(); ++i) against_[i] = AdaptiveBit(kAgainst[i], kSeen);
    for (std::size_t i = 0; i < large_.size(); ++i) large_[i] = AdaptiveBit(kLarge[i], kSeen);
  }

  template <typename Coder>
  void Run(Coder coder, std::span<std::int8_t> levels) {
    for (std::size_t i = 0; i < levels.size(); ++i) {
      const Near near = NearOf(levels, i);
      AdaptiveBit& nonzero = nonzero_[nonzero_before_[i]][near.nonzero];
      if (!coder.Bit(nonzero, levels[i] != 0)) {
        levels[i] = 0;
        continue;
      }
      const bool negative = Sign(coder, near.sign, levels[i] < 0);
      const int magnitude = Magnitude(coder, near.large, std::abs(int{levels[i]}));
      levels[i] = static_cast<std::int8_t>(negative ? -magnitude : magnitude);
      if (nonzero_before_[i] + 1U < kRows) ++nonzero_before_[i];
    }
  }

 private:
  static constexpr std::size_t kRows = 3;
  static constexpr std::size_t kNear = 4;
  static constexpr std::uint32_t kSeen = 6;
  using Chances = std::array<std::array<std::uint32_t, kNear>, kRows>;
  // What updates of dense layers have at a step of two.
  static constexpr Chances kNonzero = {{{11800, 1, 1, 1}, {23200, 1, 1, 1}, {26800, 1, 1, 1}}};
  static constexpr Chances kNonzeroNear = {
      {{1600, 17200, 34200, 56700}, {14500, 26700, 37900, 51800}, {18000, 28800, 37200, 48100}}};
  static constexpr std::array<std::uint32_t, 3> kAgainst = {10100, 2800, 500};
  static constexpr std::array<std::uint32_t, 4> kLarge = {2600, 6200, 19400, 36200};

  struct Near {
    std::size_t nonzero = 0;  // Of three neighbours.
    int sign = 0;             // The sum of their signs.
    std::size_t large = 0;    // The magnitudes of two of them, less one.
  };
  Near NearOf(std::span<const std::int8_t> levels, std::size_t i) const {
    if (lag_ == 0) return {};
    const int before = i >= 1 ? levels[i - 1] : 0;
    const int above = lag_ > 1 && i >= lag_ ? levels[i - lag_] : 0;
    const int beside = lag_ > 1 && i + 1 >= lag_ ? levels[i + 1 - lag_] : 0;
    const int sum = std::abs(before) + std::abs(above);
    return {.nonzero = static_cast<std::size_t>((before != 0 ? 1 : 0) + (above != 0 ? 1 : 0) +
                                                (beside != 0 ? 1 : 0)),
            .sign = SignOf(before) + SignOf(above) + SignOf(beside),
            .large = static_cast<std::size_t>(std::clamp(sum - 1, 0, 3))};
  }

  template <typename Coder>
  bool Sign(Coder coder, int near, bool negative) {
    if (near == 0) return coder.Uniform(negative ? 1 : 0, 1) != 0;
    AdaptiveBit& against = against_[static_cast<std::size_t>(std::abs(near) - 1)];
    return coder.Bit(against, negative != (near < 0)) != (near < 0);
  }
  template <typename Coder>
  int Magnitude(Coder coder, std::size_t near, int magnitude) {
    if (!coder.Bit(large_[near], magnitude > 1)) return 1;
    return 2 +
           static_cast<int>(coder.Number(
               rest_, static_cast<std::uint32_t>(std::max(magnitude - 2, 0)), kFactorLevelMax - 2));
  }

  std::size_t lag_;
  // Levels of the same row in earlier directions that are not zero, up to two.
  std::vector<std::uint8_t> nonzero_before_;
  std::array<std::array<AdaptiveBit, kNear>, kRows> nonzero_;
  std::array<AdaptiveBit, 3> against_;
  std::array<AdaptiveBit, 4> large_;
  AdaptiveNumber rest_;
};

template <typename Coder>
std::size_t RunLag(Coder coder, std::size_t lag) {
  AdaptiveBit any(kAnyLag, 1);
  return coder.Bit(any, lag > 0) ? coder.Uniform(static_cast<std::uint32_t>(lag - 1), 8) + 1 : 0;
}

struct Lags {
  std::size_t left = 0;
  std::size_t right = 0;
};

template <typename Coder>
void Run(Coder coder, Lags lags, FactorLevels& levels) {
  lags.left = RunLag(coder, lags.left);
  if (levels.columns > 0) lags.right = RunLag(coder, lags.right);
  SideModel left(levels.rows, lags.left);
  SideModel right(levels.columns, lags.right);
  for (std::size_t k = 0; k < levels.scales.size(); ++k) {
    levels.scales[k] = static_cast<std::uint8_t>(coder.Uniform(levels.scales[k], 8));
    if (levels.scales[k] == 0) continue;
    left.Run(coder, std::span(levels.left).subspan(k * levels.rows, levels.rows));
    right.Run(coder, std::span(levels.right).subspan(k * levels.columns, levels.columns));
  }
}

// The distance at which levels agree most often in sign, for instance the width of the image that
// the rows are the pixels of; 0: at none. Of the first few thousand rows.
std::size_t LikelyLag(std::span<const std::int8_t> levels, std::size_t length) {
  constexpr std::size_t kEnough = 4096;
  const std::size_t looked_at = std::min(length, kEnough);
  std::size_t best = 0;
  int most = 0;
  for (std::size_t lag = 2; lag <= kLagMax && 2 * lag <= looked_at; ++lag) {
    int agree = 0;
    for (std::size_t start = 0; start < levels.size(); start += length) {
      const auto direction = levels.subspan(start, looked_at);
      for (std::size_t i = lag; i < looked_at; ++i)
        agree += SignOf(direction[i]) * SignOf(direction[i - lag]);
    }
    if (agree > most) {
      most = agree;
      best = lag;
    }
  }
  return best;
}

std::size_t SideBytes(std::span<std::int8_t> levels, std::size_t length, std::size_t lag) {
  ByteWriter out;
  RangeEncoder encoder(out);
  RunLag(Writing{encoder}, lag);
  SideModel model(length, lag);
  for (std::size_t start = 0; start < levels.size(); start += length)
    model.Run(Writing{encoder}, levels.subspan(start, length));
  encoder.Finish();
  return out.size();
}

// Of none, the place before and the likely one, the lag whose code is the shortest.
std::size_t ChooseLag(std::span<std::int8_t> levels, std::size_t length) {
  std::size_t best = 0;
  std::size_t least = SideBytes(levels, length, 0);
  for (const std::size_t lag : {std::size_t{1}, LikelyLag(levels, length)}) {
    if (lag == 0) continue;
    const std::size_t bytes = SideBytes(levels, length, lag);
    if (bytes >= least) continue;
    least = bytes;
    best = lag;
  }
  return best;
}

// Whether a factor of a direction, of those that there are, has no level.
bool AnyEmpty(const FactorLevels& levels, std::size_t k) {
  return AllZero(std::span(levels.left).subspan(k * levels.rows, levels.rows)) ||
         (levels.columns > 0 &&
          AllZero(std::span(levels.right).subspan(k * levels.columns, levels.columns)));
}

// Takes out directions of which a factor is zero.
void DropEmpty(FactorLevels& levels) {
  for (std::size_t k = 0; k < levels.scales.size(); ++k) {
    if (levels.scales[k] != 0 && !AnyEmpty(levels, k)) continue;
    levels.scales[k] = 0;
    std::ranges::fill(std::span(levels.left).subspan(k * levels.rows, levels.rows), std::int8_t{0});
    std::ranges::fill(std::span(levels.right).subspan(k * levels.columns, levels.columns),
                      std::int8_t{0});
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
    const Lags lags{ChooseLag(levels.left, levels.rows), ChooseLag(levels.right, levels.columns)};
    RangeEncoder encoder(out);
    Run(Writing{encoder}, lags, levels);
    encoder.Finish();
    if (out.size() - start <= bytes_max) return;
    out.bytes().resize(start);
    Halve(levels.left);
    Halve(levels.right);
  }
}

Result<> DecodeFactors(ByteSpan bytes, FactorLevels& levels) {
  RangeDecoder decoder(bytes);
  Run(Reading{decoder}, {}, levels);
  FL_TRY_OK(decoder.Finish());
  for (std::size_t k = 0; k < levels.scales.size(); ++k) {
    if (levels.scales[k] != 0 && AnyEmpty(levels, k)) {
      return Error{ErrorCode::kMalformed,
                   "direction " + std::to_string(k) + ": a scale without levels",
                   ErrorDetail::kScaleUseless};
    }
  }
  return {};
}

}  // namespace fl::internal
