#pragma once

#include <cstdint>
#include <memory>

#include "fl/compression/codecs/rotation.h"
#include "fl/compression/codecs/value_coder.h"

namespace fl {

struct EdenConfig {
  double bits = 1;           // A value, 0.05 to 8; also between whole numbers.
  std::size_t block = 4096;  // Of the rotation.
  bool nearest = false;      // The scale with the least squared error; else the unbiased one.
};

// `eden B [block=4096] [scale=unbiased|nearest]`: the values are rotated by signs of a seed of
// their own (codecs/rotation.h), which makes any values normal, then take the levels that suit a
// normal distribution best. (EDEN: Vargaftik et al. 2022, arXiv:2108.08842; 1 bit is DRIVE.) With a
// unit's values x, rotated y and levels q the scale is |x|^2 / <q, y>, which is unbiased for a
// uniformly random rotation and very nearly so here; the squared error over the energy is D / (1 -
// D), D that of the levels: 0.571, 0.133, 0.0358, 0.00959 for 1 to 4 bits, whatever the values are.
// With `nearest` it is <q, y> / |q|^2: error D, never above the energy, as a residual wants it.
//
//   eden = seed:u32 { unit }                            a unit for each block of the rotation, the
//                                                       last one shorter
//   unit = scale:bf16 codes codes                       the first of its places with floor(B) + 1
//                                                       bits, then the others with floor(B);
//                                                       each zero padded to a byte
//
// Rotated value = scale * NormalLevels(bits)[code], 0 without bits. Of n places ceil((B - floor(B))
// * n / 8) * 8, at most n, take the larger width. Where there are any, place j is the j-th below n
// of (a * i + b) mod p, i = 0, 1, ..., p the least power of two >= n, a (made odd) and b two words
// of RngStream(seed).Child("places", unit); else place j is j. The scale is rounded to bf16 up or
// down so that its expectation is kept; codes are 0 where it is 0.
class Eden final : public ValueCoder {
 public:
  explicit Eden(const EdenConfig& config) : config_(config) {}

  CodecTraits traits() const override;
  std::size_t EncodedBytes(std::size_t count) const override;
  void Encode(std::span<const float> values, RngStream& rng, ByteWriter& out) const override;
  Result<> Check(ByteSpan payload, std::size_t count, const PayloadLimits& limits) const override;
  void DecodeAdd(ByteSpan payload, std::size_t count, std::size_t first, float scale,
                 std::span<float> out) const override;

 private:
  // How a unit's places are written.
  struct Widths {
    unsigned low = 0;
    std::size_t size = 0;
    std::size_t high_count = 0;  // Places with low + 1 bits, before the others.
    std::size_t high_bytes() const;
    std::size_t bytes() const;  // With the scale.
  };
  Widths WidthsOf(std::size_t size) const;
  ByteSpan UnitOf(ByteSpan payload, std::size_t count, std::size_t unit) const;
  // What a run of places, all of one width, adds to the scale's terms: <q, y>, and |q|^2 if asked
  // for.
  struct RunSums {
    double products = 0;
    double energy = 0;
  };
  static RunSums ChooseCodes(std::span<const float> values, unsigned bits, double root_mean_square,
                             bool nearest, std::span<std::uint8_t> codes);
  std::uint16_t ChooseScale(double squares, const RunSums& sums, const Widths& widths,
                            RngStream& rng) const;
  void EncodeUnit(std::span<const float> values, std::span<float> rotated, RngStream& rng,
                  ByteWriter& out) const;
  Result<> CheckUnit(ByteSpan unit, std::size_t size, const PayloadLimits& limits) const;
  void DecodeUnit(ByteSpan unit, std::uint32_t seed, std::size_t index,
                  std::span<float> values) const;

  EdenConfig config_;
};

// The coder of a stage `eden B`. `after_shape`: refused, since a rotation is of whole blocks.
Result<std::unique_ptr<ValueCoder>> BuildEden(const Stage& stage, bool after_shape);

}  // namespace fl
