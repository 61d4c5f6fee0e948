#pragma once

#include <memory>

#include "fl/compression/codecs/masked.h"

namespace fl {

struct AnnouncedConfig {
  std::size_t count = 0;      // Of the segment, at least 1.
  double share = 0.01;        // Of the coordinates, in (0, 1]; at least one is sent.
  double explore = 0.2;       // Of what is sent, in (0, 1], rounded up: drawn at random.
  std::uint64_t initial = 1;  // The first round's seed.
};

// `announced F% [explore=20%]`: the server says which coordinates are sent: those where the
// aggregate of the round before was largest, ties to the lower index, and some that are drawn at
// random, so that others can come in. All clients send the same, so that no index travels up and
// sums are of the same things; the places travel down once a round, at about 2 + log2(100 / F) bits
// each. Where the aggregate has fewer that are not zero, as before the first round, the rest is
// drawn, too. A residual keeps what is left out. Layout: codecs/masked.h. (Masks that the server
// announces or clients vote for: SSFL, Ohib et al. 2024; FetchSGD and global top-k are kin.)
//
//   part   = seed:u64 low high              n coordinates, t announced ones, e explored ones
//   low    = t x w bits                     the lower w = floor(log2(n / t)) bits of each place
//   high   = t + floor(n / 2^w) + 1 bits    bit (place >> w) + i is set for place number i
//            each filled to a byte, lowest bit first (Elias-Fano, so that all parts have one size)
//   explored = those of DrawSubset(root(seed) / child("explore", 0), n - t, e) among the others
class Announced final : public SupportRule {
 public:
  explicit Announced(const AnnouncedConfig& config);

  std::size_t kept_blocks() const override { return announced_ + explored_; }
  std::size_t all_blocks() const override { return config_.count; }
  std::size_t block() const override { return 1; }
  bool follows_aggregate() const override { return true; }
  std::size_t ParametersBytes() const override;
  Bytes Initial() const override;
  Bytes Next(ByteSpan part, std::span<const float> aggregate) const override;
  // kInvalidArgument unless the part holds t ascending places.
  Result<std::vector<std::uint32_t>> Choose(ByteSpan part) const override;

 private:
  Bytes PartOf(std::uint64_t seed, std::vector<std::uint32_t> places) const;
  std::size_t low_bytes() const { return (announced_ * width_ + 7) / 8; }
  std::size_t high_bits() const { return announced_ + (config_.count >> width_) + 1; }

  AnnouncedConfig config_;
  std::size_t announced_ = 0;
  std::size_t explored_ = 0;
  unsigned width_ = 0;
};

// The codec that a chain asks for, its head being announced.
Result<std::unique_ptr<Codec>> BuildAnnounced(const Chain& chain, const Shape& shape,
                                              std::size_t parameters_offset);

}  // namespace fl
