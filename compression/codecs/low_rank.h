#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "fl/compression/codecs/factorize.h"
#include "fl/compression/codecs/value_coder.h"

namespace fl {

inline constexpr unsigned kLowRankMax = 64;

struct LowRankConfig {
  unsigned rank = 2;         // 1 to kLowRankMax; less where the matrix has less. The most, with one
                             // of the next two.
  double energy = 0;         // Above 0: the least rank that keeps this share of the energy.
  std::size_t bytes = 0;     // Above 0: the rank whose payload fits these bytes.
  unsigned iterations = 2;   // Of the power iteration, 1 to 8.
  unsigned factor_bits = 0;  // 2 to 8: factors as levels; 0: as `factors` writes them.
  float step = 0;  // Above 0: factors as coded levels, of a grid of this step in units of the root
                   // mean square.
  std::unique_ptr<ValueCoder> factors;  // With factor_bits = 0 and step = 0: any value coder.
};

// `low_rank R [iterations=2]`: the matrix as a product of two thin ones, P (rows x R) and V (R x
// columns), from an own random start (PowerSGD without a shared basis: Vogels et al. 2019,
// arXiv:1905.13727). A convolution's kernel height x width x in x out is a matrix of (height *
// width * in) x out; other tensors likewise: the last axis are the columns.
//
// `low_rank energy=E% [max=32]`, `low_rank bytes=N [max=32]`: each message has a rank of its own,
// in front of its factors. Directions are ordered by the energy that they keep, before rounding;
// the least rank that keeps E percent of the matrix's is taken, or max. With bytes=, a rank that
// fits while the next does not, found by bisection.
//
//   chosen = rank:u8 [factors]                        0 to max; none for rank 0: all values are
//   zero.
//                                                     As coded levels, the last direction is
//                                                     present
//
//   low_rank, factors as levels (| quantize B):
//     { level of P } { scale:bf16 } { level of V }      P row by row, B bits a level, zero padded
//     to a byte;
//                                                       a scale for each row of V; V row by row,
//                                                       likewise padded
//   low_rank, factors as numbers (alone, | fp16, | lloyd B, | quantize B stochastic ...):
//     values of P { values of a row of V }              as the value coder writes them, P row by
//     row at once, since its directions are of one size; V's are not, so each row has a scale of
//     its own
//
//   low_rank | quantize step=X [| context], the recipe for the fewest bytes: X = 2 is a good step,
//   1.5 and R + 2 spend more for fewer rounds:
//     range code of scales and levels                   codecs/factor_levels.h
//
// level = code - (2^(B-1) - 1), code 2^B - 1 unused. P's levels are its values: V is the
// least-squares fit to the rounded P, whatever rounds it, so P's scale is in V. value[i, j] = sum
// over k, in order, of P[i, k] * V[k, j]. All sums run in a fixed order: decoding gives the same
// bits everywhere, encoding wherever RngStream::Normal does.
class LowRank final : public Codec {
 public:
  // The shape has at least two axes.
  LowRank(LowRankConfig config, const Shape& shape);

  CodecTraits traits() const override { return {.deterministic = false}; }
  std::size_t count() const override { return rows_ * columns_; }
  std::size_t EncodedBytesMax() const override;
  // All that factors of a rank take, or can take where they are coded.
  std::size_t FactorBytes(std::size_t rank) const;
  void Encode(std::span<const float> values, std::span<float> decoded,
              const RoundParameters& parameters, RngStream rng, ByteWriter& out) const override;
  Result<std::unique_ptr<ParsedPayload>> Parse(ByteSpan payload, const RoundParameters& parameters,
                                               const PayloadLimits& limits) const override;
  void DecodeAdd(const ParsedPayload& payload, std::size_t first, float scale,
                 std::span<float> out) const override;

 private:
  struct Parsed;
  bool chosen() const { return config_.energy > 0 || config_.bytes > 0; }
  std::size_t ChooseRank(const internal::MatrixView& matrix, std::span<const double> energies,
                         std::span<const float> left) const;
  std::size_t WriteFactors(const internal::MatrixView& matrix, std::span<const float> left,
                           RngStream rng, ByteWriter& out) const;
  std::size_t WriteCoded(const internal::MatrixView& matrix, std::span<const float> left,
                         ByteWriter& out) const;
  void WriteNumbers(const internal::MatrixView& matrix, std::span<const float> left, RngStream rng,
                    ByteWriter& out) const;
  Result<std::size_t> ReadRank(ByteReader& reader) const;
  Result<> ParseCoded(ByteSpan payload, Parsed& parsed) const;
  Result<> ParseLevels(ByteSpan payload, Parsed& parsed) const;
  Result<> ParseNumbers(ByteSpan payload, const PayloadLimits& limits, Parsed& parsed) const;

  LowRankConfig config_;
  std::size_t rows_ = 0;
  std::size_t columns_ = 0;
  std::size_t rank_ = 0;
};

// The codec that a chain asks for, its head being low_rank; with basis=shared it is that of
// codecs/low_rank_shared.h.
Result<std::unique_ptr<Codec>> BuildLowRank(const Chain& chain, const Shape& shape,
                                            std::size_t parameters_offset);

}  // namespace fl
