#pragma once

#include <cstdint>
#include <memory>

#include "fl/compression/codecs/value_coder.h"
#include "fl/compression/kernels/add_values.h"
#include "fl/compression/stage.h"

namespace fl {

struct QuantizeConfig {
  unsigned bits = 8;        // Of a level, 1 to 8.
  bool stochastic = false;  // Rounds up with a chance equal to the fraction, so that the expected
                            // value is the value.
  bool asymmetric = false;  // Levels from the least value to the largest; else from -m to m, m the
                            // largest magnitude.
  std::size_t channels =
      1;  // Grids: 1, or the extent of the last axis, value i being of channel i % channels.
};

// `quantize B [stochastic] [asymmetric] [per=tensor|channel|group:N]`: levels of a uniform grid,
// packed in B bits each. (QSGD with the largest magnitude for a scale: Alistarh et al. 2017,
// arXiv:1610.02132.)
//
//   quantize  = { grid } codes                        one grid a channel; codes: count * B bits,
//   lower bits first, zero padded grid      = step:bf16                             symmetric:
//   value = (code - (2^(B-1) - 1)) * step, code 2^B - 1 unused;
//                                                     one bit: value = +-step
//             | low:bf16 step:bf16                    asymmetric: value = low + code * step
//
// The step is rounded up and the low end down to bf16, so that all values lie within the grid. One
// symmetric bit, not stochastic, is the sign times the mean magnitude (Karimireddy et al. 2019,
// arXiv:1901.09847). A step of zero goes with zero values only.
class Quantize final : public ValueCoder {
 public:
  explicit Quantize(const QuantizeConfig& config) : config_(config) {}

  CodecTraits traits() const override;
  std::size_t EncodedBytes(std::size_t count) const override;
  void Encode(std::span<const float> values, RngStream& rng, ByteWriter& out) const override;
  std::unique_ptr<PieceEncoder> EncodePieces() const override;
  Result<> Check(ByteSpan payload, std::size_t count, const PayloadLimits& limits) const override;
  void DecodeAdd(ByteSpan payload, std::size_t count, std::size_t first, float scale,
                 std::span<float> out) const override;

 private:
  class Pieces;
  // Of the values that share a grid.
  struct Extremes {
    std::size_t count = 0;
    float low = 0;
    float high = 0;
    float magnitude = 0;
    double magnitudes = 0;  // Their sum.
    void Add(float value);
  };
  std::size_t grid_bytes() const { return config_.asymmetric ? 4 : 2; }
  std::size_t head_bytes() const { return config_.channels * grid_bytes(); }
  unsigned code_max() const;
  kernels::LevelGrid ReadGrid(ByteSpan payload, std::size_t channel) const;
  void WriteGrid(const Extremes& extremes, ByteWriter& out) const;
  void EncodeChannels(std::span<const float> values, RngStream& rng, ByteWriter& out) const;
  Result<> CheckGrid(ByteSpan payload, std::size_t channel, const PayloadLimits& limits) const;
  Result<> CheckCodes(ByteSpan payload, std::size_t count) const;
  void DecodeAddChannels(ByteSpan payload, std::size_t first, float scale,
                         std::span<float> out) const;

  QuantizeConfig config_;
};

// `quantize`'s own words, before it is known what they apply to.
struct QuantizeStage {
  QuantizeConfig config;
  bool per_channel = false;
  std::size_t group = 0;  // Values of a grid of their own (codecs/grouped.h); 0: no groups.
  bool shared = false;
  float range = 1.0F;
};
Result<QuantizeStage> ReadQuantize(const Stage& stage);

// As BuildValueCoder; the grid is the coder's own.
Result<std::unique_ptr<ValueCoder>> BuildQuantize(const Stage& stage, const Shape& shape,
                                                  bool after_shape);

namespace internal {

// The nearest bf16 that is not below, or not above, a finite value; the largest finite bf16 stands
// for what lies beyond.
std::uint16_t Bfloat16Above(float value);
std::uint16_t Bfloat16Below(float value);

// The code of a value on a grid: rounded to nearest even, or up with a chance equal to the fraction
// where `rng` is given.
std::uint8_t CodeOf(float value, const kernels::LevelGrid& grid, unsigned code_max, RngStream* rng);
// The same for each value, in order.
void CodesOf(std::span<const float> values, const kernels::LevelGrid& grid, unsigned code_max,
             RngStream* rng, std::span<std::uint8_t> codes);

// How values of one grid are packed.
struct GridCoder {
  kernels::LevelGrid grid;
  unsigned bits = 8;
  unsigned code_max = 255;
  bool stochastic = false;
  // As PieceEncoder::Write.
  void Write(std::span<const float> piece, std::span<float> decoded, RngStream& rng,
             ByteWriter& out) const;
};

}  // namespace internal
}  // namespace fl
