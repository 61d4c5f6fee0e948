#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "fl/common/base/guarded.h"
#include "fl/compression/codecs/value_coder.h"

namespace fl {

struct LowRankSharedConfig {
  unsigned rank = 2;                    // 1 and more, below the matrix's rows and columns.
  float step = 0;                       // Above 0: the factor as coded levels, as in LowRankConfig.
  std::unique_ptr<ValueCoder> factors;  // With step = 0: any value coder.
  std::uint64_t initial = 1;            // The first round's seed.
  std::size_t parameters_offset = 0;    // Where this codec's part of the parameters begins.
};

// `low_rank R basis=shared`: the matrix A as a product of two thin ones, one of which all clients
// of a round have, so that they send the other alone, and sums of updates are sums of that. The
// basis has R orthonormal directions, of the columns' side or of the rows' in turn:
//
//   side 0: directions Q of `columns` values; sent: P = A Q, rows x R; decoded: P Q^T
//   side 1: directions P of `rows` values; sent: S = A^T P, columns x R; decoded: P S^T
//
// The next round's basis is what this one's aggregate is along it, made orthonormal, so it is of
// the other side: rounds are half steps of a subspace iteration on what all clients have in common
// (PowerSGD's warm start, Vogels et al. 2019, arXiv:1905.13727). A direction of which the aggregate
// has nothing is drawn anew. A residual keeps what is outside the basis.
//
//   payload = { direction }     R of them, of the sent factor, as the value stage writes so many
//                               values: rows of them on side 0, columns on side 1
//           | range code        quantize step=X: codecs/factor_levels.h, without columns
//   part    = seed:u64 side:u8 { direction: { value:f32 } }
//                               the basis, R directions one behind the other, zeros up to R x
//                               max(rows, columns) values
//
// value[i, j] = sum over k, in order, of P[i, k] * (Q or S)[j, k]. All sums run in a fixed order,
// so encoding, decoding and the next basis have the same bits everywhere. kInvalidArgument where
// the round's parameters are too short, name another side, or hold what is not orthonormal.
class LowRankShared final : public Codec {
 public:
  LowRankShared(LowRankSharedConfig config, const Shape& shape);

  CodecTraits traits() const override;
  std::size_t count() const override { return rows_ * columns_; }
  // Of the larger of the two factors, which take turns.
  std::size_t EncodedBytesMax() const override;
  Bytes InitialParameters() const override { return initial_; }
  Bytes NextParameters(ByteSpan part, const RoundFeedback& feedback) const override;
  Result<> CheckParameters(const RoundParameters& parameters) const override;
  void Encode(std::span<const float> values, std::span<float> decoded,
              const RoundParameters& parameters, RngStream rng, ByteWriter& out) const override;
  Result<std::unique_ptr<ParsedPayload>> Parse(ByteSpan payload, const RoundParameters& parameters,
                                               const PayloadLimits& limits) const override;
  void DecodeAdd(const ParsedPayload& payload, std::size_t first, float scale,
                 std::span<float> out) const override;

 private:
  struct Basis;
  struct Parsed;
  // The last basis that was asked for: a round's updates share theirs.
  struct Remembered {
    Bytes part;
    std::shared_ptr<const Basis> basis;
  };

  std::size_t part_bytes() const;
  // Of a direction that is sent.
  std::size_t SentLength(const Basis& basis) const;
  Bytes PartOf(std::uint64_t seed, bool of_rows, std::span<const float> directions) const;
  Result<Basis> ReadBasis(ByteSpan part) const;
  Result<std::shared_ptr<const Basis>> BasisOf(const RoundParameters& parameters) const;
  std::vector<float> FactorOf(std::span<const float> matrix, const Basis& basis) const;
  std::size_t FactorBytes(std::size_t length) const;
  Result<std::vector<float>> ReadFactor(ByteSpan payload, std::size_t length,
                                        const PayloadLimits& limits) const;

  LowRankSharedConfig config_;
  std::size_t rows_ = 0;
  std::size_t columns_ = 0;
  Bytes initial_;
  mutable Guarded<Remembered> remembered_;
};

}  // namespace fl
