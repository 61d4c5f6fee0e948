#pragma once

#include <memory>

#include "fl/compression/codecs/masked.h"

namespace fl {

struct SharedMaskConfig {
  std::size_t count = 0;      // Of the segment, at least 1.
  std::size_t block = 64;     // Neighbours that are sent or left out together, 1 to 65536.
  double share = 0.1;         // Of the blocks, in (0, 1]; at least one is sent.
  std::uint64_t initial = 1;  // The first round's seed.
};

// `shared_mask F% [unbiased] [block=64]`: the blocks that are sent are drawn by a seed that all
// clients of a round have, another one in each round. Nothing about values is known beforehand, so
// the error is 1 - F of the energy in expectation, which a residual carries to later rounds; with
// `unbiased` what is decoded is multiplied by 1 / F instead: random-k, with an error of 1 / F - 1.
// Layout: codecs/masked.h. (Konecny et al. 2016, arXiv:1610.05492: random masks; random-k: Stich et
// al. 2018, arXiv:1809.07599.)
//
//   part   = seed:u64           the first round's is 1 + where the part begins; then the first two
//                               words, low one first, of root(seed) / child("next_mask", 0)
//   blocks = DrawSubset(root(seed) / child("shared_mask", 0), ceil(count / block), how many)
class SharedMask final : public SupportRule {
 public:
  explicit SharedMask(const SharedMaskConfig& config);

  std::size_t kept_blocks() const override { return kept_; }
  std::size_t all_blocks() const override { return all_; }
  std::size_t block() const override { return config_.block; }
  bool follows_aggregate() const override { return false; }
  std::size_t ParametersBytes() const override { return sizeof(std::uint64_t); }
  Bytes Initial() const override;
  Bytes Next(ByteSpan part, std::span<const float> aggregate) const override;
  Result<std::vector<std::uint32_t>> Choose(ByteSpan part) const override;

 private:
  SharedMaskConfig config_;
  std::size_t all_;
  std::size_t kept_;
};

// The codec that a chain asks for, its head being shared_mask.
Result<std::unique_ptr<Codec>> BuildSharedMask(const Chain& chain, const Shape& shape,
                                               std::size_t parameters_offset);

}  // namespace fl
