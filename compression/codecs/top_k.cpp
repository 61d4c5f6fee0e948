#include "fl/compression/codecs/top_k.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <string>

#include "fl/common/base/check.h"
#include "fl/common/base/error_detail.h"
#include "fl/compression/codecs/largest_magnitudes.h"
#include "fl/compression/codecs/quantize.h"
#include "fl/compression/entropy/rice.h"

namespace fl {
namespace {

constexpr std::size_t kBlock = 65536;

// One block of a payload: where its gaps lie, and how many kept coordinates come before it.
struct ParsedBlock {
  ByteSpan gaps;
  std::size_t count = 0;
  std::size_t rank = 0;
};

struct ParsedTopK final : ParsedPayload {
  std::vector<ParsedBlock> blocks;
  ByteSpan values;
  std::size_t kept = 0;
};

std::size_t BlockSize(std::size_t block, std::size_t count) {
  return std::min(kBlock, count - block * kBlock);
}

Result<ParsedBlock> ParseBlock(ByteReader& reader, ByteSpan payload, std::size_t size,
                               std::size_t keep_left) {
  FL_TRY(const std::uint64_t count, reader.ReadVarint());
  if (count > std::min(keep_left, size)) {
    return Error{ErrorCode::kMalformed,
                 "expected at most " + std::to_string(std::min(keep_left, size)) +
                     " kept coordinates, found " + std::to_string(count),
                 ErrorDetail::kIndexCount};
  }
  ParsedBlock block;
  block.count = count;
  block.gaps = payload.subspan(reader.position());
  IndexReader indices(block.gaps, block.count, size);
  for (std::size_t i = 0; i < block.count; ++i) FL_TRY_OK(indices.Next());
  if (!indices.PaddingIsZero())
    return Error{ErrorCode::kMalformed, "expected zero bits after the last index",
                 ErrorDetail::kPaddingBits};
  FL_TRY(block.gaps, reader.ReadSpan(indices.bytes_read()));
  return block;
}

}  // namespace

CodecTraits TopK::traits() const {
  const CodecTraits kept = values_->traits();
  CodecTraits traits{.deterministic = kept.deterministic};
  // The dropped ones have at most their share of the energy, which is largest after a warm-up.
  const double share =
      static_cast<double>(kept_.CountAtRound(0, count_)) / static_cast<double>(count_);
  if (kept.relative_error && *kept.relative_error <= 1) {
    traits.relative_error = 1 - share * (1 - *kept.relative_error);
  }
  return traits;
}

// With b = RiceWidth, a block's gaps take count * (b + 1) bits and at most size >> b more, which is
// at most 3 * count; and b is at most the bits of the mean gap. Concave in the count, so a block
// with the mean share is the worst.
std::size_t TopK::EncodedBytesMax() const {
  const std::size_t blocks = (count_ + kBlock - 1) / kBlock;
  const auto gap_bits = static_cast<std::size_t>(std::bit_width(count_ / keep_max_)) + 5;
  return blocks * 4 + (keep_max_ * gap_bits + 7) / 8 + values_->EncodedBytes(keep_max_);
}

void TopK::Encode(std::span<const float> values, std::span<float> decoded,
                  const RoundParameters& parameters, RngStream rng, ByteWriter& out) const {
  const bool wanted = WantsDecoded(values, decoded);
  const std::size_t start = out.size();
  std::vector<std::uint32_t> indices =
      internal::LargestMagnitudes(values, kept_.CountAtRound(parameters.round, count_));
  std::vector<float> kept(indices.size());
  for (std::size_t i = 0; i < kept.size(); ++i) kept[i] = values[indices[i]];
  std::size_t at = 0;
  for (std::size_t begin = 0; begin < count_; begin += kBlock) {
    const std::size_t first = at;
    while (at < indices.size() && indices[at] < begin + kBlock)
      indices[at++] -= static_cast<std::uint32_t>(begin);
    out.WriteVarint(at - first);
    WriteIndices(std::span(indices).subspan(first, at - first), BlockSize(begin / kBlock, count_),
                 out);
  }
  values_->Encode(kept, rng, out);
  if (!wanted) return;
  std::ranges::fill(decoded, 0.0F);
  const auto parsed =
      Parse(ByteSpan(out.bytes()).subspan(start), parameters, {.magnitude_max = INFINITY});
  DecodeAdd(*parsed.value(), 0, 1.0F, decoded);
}

Result<std::unique_ptr<ParsedPayload>> TopK::Parse(ByteSpan payload,
                                                   const RoundParameters& /*parameters*/,
                                                   const PayloadLimits& limits) const {
  auto parsed = std::make_unique<ParsedTopK>();
  ByteReader reader(payload);
  for (std::size_t block = 0; block * kBlock < count_; ++block) {
    auto next = ParseBlock(reader, payload, BlockSize(block, count_), keep_max_ - parsed->kept);
    if (!next) return next.error().At("block " + std::to_string(block));
    next->rank = parsed->kept;
    parsed->kept += next->count;
    parsed->blocks.push_back(*next);
  }
  const std::size_t expected = values_->EncodedBytes(parsed->kept);
  if (reader.remaining() != expected) {
    return Error{ErrorCode::kMalformed,
                 "expected " + std::to_string(expected) + " bytes of values, found " +
                     std::to_string(reader.remaining()),
                 ErrorDetail::kPayloadBytes};
  }
  FL_TRY(parsed->values, reader.ReadSpan(expected));
  FL_TRY_OK(values_->Check(parsed->values, parsed->kept, limits));
  return std::unique_ptr<ParsedPayload>(std::move(parsed));
}

void TopK::DecodeAdd(const ParsedPayload& payload, std::size_t first, float scale,
                     std::span<float> out) const {
  FL_CHECK(first + out.size() <= count_, "a block of coordinates lies inside its segment");
  const auto& parsed = static_cast<const ParsedTopK&>(payload);
  constexpr std::size_t kRun = 256;  // Values decoded at once.
  std::array<float, kRun> values;
  for (std::size_t b = first / kBlock; b * kBlock < first + out.size(); ++b) {
    const ParsedBlock& block = parsed.blocks[b];
    IndexReader indices(block.gaps, block.count, BlockSize(b, count_));
    for (std::size_t done = 0; done < block.count; done += kRun) {
      const auto run = std::span(values).first(std::min(kRun, block.count - done));
      std::ranges::fill(run, 0.0F);
      values_->DecodeAdd(parsed.values, parsed.kept, block.rank + done, scale, run);
      for (const float value : run) {
        const std::size_t index = b * kBlock + indices.NextChecked();
        if (index >= first && index < first + out.size()) out[index - first] += value;
      }
    }
  }
}

Result<std::unique_ptr<Codec>> BuildTopK(const Chain& chain, const Shape& shape) {
  FL_TRY(const KeptShare kept, ReadTopK(*chain.shape));
  if (chain.values != nullptr && chain.values->name == "quantize") {
    FL_TRY(const QuantizeStage quantize, ReadQuantize(*chain.values));
    if (quantize.shared) {
      return RefuseStage(
          *chain.values,
          "scale=shared after top_k: top_k is chosen by each client, so it cannot be summed");
    }
  }
  FL_TRY(std::unique_ptr<ValueCoder> values, BuildValueCoder(chain.values, shape, true));
  return std::unique_ptr<Codec>(std::make_unique<TopK>(std::move(values), shape.count(), kept));
}

}  // namespace fl
