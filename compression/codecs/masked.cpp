#include "fl/compression/codecs/masked.h"

#include <algorithm>
#include <array>
#include <string>

#include "fl/common/base/check.h"
#include "fl/compression/codecs/dense.h"
#include "fl/compression/codecs/level_codec.h"

namespace fl {
namespace {

constexpr std::size_t kRun = 256;  // Kept values decoded at once.

struct ParsedMasked final : ParsedPayload {
  std::shared_ptr<const SharedSupport> support;  // Shared with the round's other payloads.
  const Codec* codec = nullptr;
  std::unique_ptr<ParsedPayload> values;
};

// Calls use(rank, ranks) for chunks of the kept coordinates inside [first, first + count).
template <typename Use>
void ForChunks(const SharedSupport& support, std::size_t first, std::size_t count, Use use) {
  const std::size_t end = support.RankOf(first + count);
  for (std::size_t rank = support.RankOf(first); rank < end; rank += kRun) {
    use(rank, std::min(kRun, end - rank));
  }
}

}  // namespace

Masked::Masked(const MaskedConfig& config, std::unique_ptr<SupportRule> rule,
               std::vector<std::unique_ptr<Codec>> values)
    : config_(config), rule_(std::move(rule)), values_(std::move(values)) {
  for (const auto& codec : values_) {
    FL_CHECK(codec->traits().granularity == 1, "kept values are finished one by one");
  }
}

// Dropped blocks cost their energy, kept ones the share of it that their values' stage loses.
CodecTraits Masked::traits() const {
  CodecTraits traits = values_.front()->traits();
  const double share =
      static_cast<double>(rule_->kept_blocks()) / static_cast<double>(rule_->all_blocks());
  const double factor = double{config_.factor};
  traits.lossless = false;
  traits.unbiased = factor != 1 && (traits.unbiased || traits.relative_error == 0);
  traits.needs_round_parameters = true;
  traits.shared_randomness = true;
  traits.server_state = rule_->follows_aggregate();
  if (factor != 1) {
    traits.relative_error = traits.relative_error == 0 ? std::optional(factor - 1) : std::nullopt;
  } else if (rule_->follows_aggregate()) {
    // What was announced need not be where this update is.
    traits.relative_error = traits.relative_error ? std::optional(1.0) : std::nullopt;
  } else if (traits.relative_error) {
    traits.relative_error = 1 - share * (1 - *traits.relative_error);
  }
  return traits;
}

std::size_t Masked::EncodedBytesMax() const {
  std::size_t bytes = 0;
  for (const auto& codec : values_) bytes = std::max(bytes, codec->EncodedBytesMax());
  return bytes;
}

Bytes Masked::InitialParameters() const {
  Bytes part = rule_->Initial();
  const Bytes rest = values_.front()->InitialParameters();
  part.insert(part.end(), rest.begin(), rest.end());
  return part;
}

Bytes Masked::NextParameters(ByteSpan part, const RoundFeedback& feedback) const {
  const ByteSpan own = part.first(rule_->ParametersBytes());
  const auto blocks = rule_->Choose(own);
  FL_CHECK(blocks.has_value(), "a round's parameters are those that it was folded with");
  const SharedSupport support{count(), rule_->block(), *blocks};
  std::vector<float> kept(support.size());
  support.ForRuns(0, kept.size(), [&](std::size_t rank, std::size_t at, std::size_t length) {
    std::ranges::copy(feedback.aggregate.subspan(at, length),
                      kept.begin() + static_cast<std::ptrdiff_t>(rank));
  });
  RoundFeedback of_kept = feedback;
  of_kept.aggregate = kept;
  Bytes next = rule_->Next(own, feedback.aggregate);
  const Bytes rest = ValuesFor(support).NextParameters(part.subspan(own.size()), of_kept);
  next.insert(next.end(), rest.begin(), rest.end());
  return next;
}

Result<std::shared_ptr<const SharedSupport>> Masked::SupportOf(
    const RoundParameters& parameters) const {
  using Shared = std::shared_ptr<const SharedSupport>;
  const std::size_t size = rule_->ParametersBytes();
  if (parameters.bytes.size() < config_.parameters_offset + size) {
    return Error{ErrorCode::kInvalidArgument, "round parameters: expected at least " +
                                                  std::to_string(config_.parameters_offset + size) +
                                                  " bytes, found " +
                                                  std::to_string(parameters.bytes.size())};
  }
  const ByteSpan part = ByteSpan(parameters.bytes).subspan(config_.parameters_offset, size);
  const Shared known = remembered_.With([&](const Remembered& last) {
    return std::ranges::equal(last.part, part) ? last.support : nullptr;
  });
  if (known != nullptr) return known;
  FL_TRY(std::vector<std::uint32_t> blocks, rule_->Choose(part));
  const Shared support = std::make_shared<const SharedSupport>(
      SharedSupport{count(), rule_->block(), std::move(blocks)});
  remembered_.With([&](Remembered& last) { last = {Bytes(part.begin(), part.end()), support}; });
  return support;
}

Result<> Masked::CheckParameters(const RoundParameters& parameters) const {
  FL_TRY(const auto support, SupportOf(parameters));
  return ValuesFor(*support).CheckParameters(parameters);
}

const Codec& Masked::ValuesFor(const SharedSupport& support) const {
  const auto found = std::ranges::find_if(
      values_, [&](const auto& codec) { return codec->count() == support.size(); });
  FL_CHECK(found != values_.end(), "there is a codec for each number of kept coordinates");
  return **found;
}

void Masked::Encode(std::span<const float> values, std::span<float> decoded,
                    const RoundParameters& parameters, RngStream rng, ByteWriter& out) const {
  const bool wanted = WantsDecoded(values, decoded);
  const auto support = SupportOf(parameters);
  FL_CHECK(support.has_value(), "the round's parameters were checked when they came");
  std::vector<float> kept((*support)->size());
  std::vector<float> kept_decoded(wanted ? kept.size() : 0);
  (*support)->ForRuns(0, kept.size(), [&](std::size_t rank, std::size_t at, std::size_t length) {
    std::ranges::copy(values.subspan(at, length), kept.begin() + static_cast<std::ptrdiff_t>(rank));
  });
  ValuesFor(**support).Encode(kept, kept_decoded, parameters, rng, out);
  if (!wanted) return;
  std::ranges::fill(decoded, 0.0F);
  (*support)->ForRuns(0, kept.size(), [&](std::size_t rank, std::size_t at, std::size_t length) {
    for (std::size_t i = 0; i < length; ++i) {
      decoded[at + i] += config_.factor * kept_decoded[rank + i];
    }
  });
}

Result<std::unique_ptr<ParsedPayload>> Masked::Parse(ByteSpan payload,
                                                     const RoundParameters& parameters,
                                                     const PayloadLimits& limits) const {
  auto parsed = std::make_unique<ParsedMasked>();
  FL_TRY(parsed->support, SupportOf(parameters));
  parsed->codec = &ValuesFor(*parsed->support);
  const PayloadLimits kept{.magnitude_max = limits.magnitude_max / config_.factor};
  FL_TRY(parsed->values, parsed->codec->Parse(payload, parameters, kept));
  return std::unique_ptr<ParsedPayload>(std::move(parsed));
}

void Masked::DecodeAdd(const ParsedPayload& payload, std::size_t first, float scale,
                       std::span<float> out) const {
  FL_CHECK(first + out.size() <= count(), "a block of coordinates lies inside its segment");
  const auto& parsed = static_cast<const ParsedMasked&>(payload);
  std::array<float, kRun> buffer;
  ForChunks(*parsed.support, first, out.size(), [&](std::size_t rank, std::size_t ranks) {
    const auto kept = std::span(buffer).first(ranks);
    std::ranges::fill(kept, 0.0F);
    parsed.codec->DecodeAdd(*parsed.values, rank, 1.0F, kept);
    parsed.support->ForRuns(
        rank, rank + ranks, [&](std::size_t from, std::size_t at, std::size_t length) {
          for (std::size_t i = 0; i < length; ++i) {
            out[at - first + i] += scale * (config_.factor * kept[from - rank + i]);
          }
        });
  });
}

void Masked::DecodeAddIntegers(const ParsedPayload& payload, std::size_t first,
                               std::span<std::int64_t> out) const {
  FL_CHECK(first + out.size() <= count(), "a block of coordinates lies inside its segment");
  const auto& parsed = static_cast<const ParsedMasked&>(payload);
  std::array<std::int64_t, kRun> buffer;
  ForChunks(*parsed.support, first, out.size(), [&](std::size_t rank, std::size_t ranks) {
    const auto kept = std::span(buffer).first(ranks);
    std::ranges::fill(kept, 0);
    parsed.codec->DecodeAddIntegers(*parsed.values, rank, kept);
    parsed.support->ForRuns(rank, rank + ranks,
                            [&](std::size_t from, std::size_t at, std::size_t length) {
                              for (std::size_t i = 0; i < length; ++i)
                                out[at - first + i] += kept[from - rank + i];
                            });
  });
}

void Masked::Finish(std::span<const std::int64_t> sum, std::size_t summands,
                    const RoundParameters& parameters, std::size_t first,
                    std::span<float> out) const {
  FL_CHECK(sum.size() == out.size() && first + out.size() <= count(),
           "a block of coordinates lies inside its segment");
  const auto support = SupportOf(parameters);
  FL_CHECK(support.has_value(),
           "the round's parameters are those that its payloads were parsed with");
  const Codec& values = ValuesFor(**support);
  std::ranges::fill(out, 0.0F);
  std::array<std::int64_t, kRun> sums;
  std::array<float, kRun> finished;
  ForChunks(**support, first, out.size(), [&](std::size_t rank, std::size_t ranks) {
    (*support)->ForRuns(rank, rank + ranks,
                        [&](std::size_t from, std::size_t at, std::size_t length) {
                          for (std::size_t i = 0; i < length; ++i) {
                            sums[from - rank + i] = sum[at - first + i];
                          }
                        });
    const auto kept = std::span(finished).first(ranks);
    values.Finish(std::span(sums).first(ranks), summands, parameters, rank, kept);
    (*support)->ForRuns(rank, rank + ranks,
                        [&](std::size_t from, std::size_t at, std::size_t length) {
                          for (std::size_t i = 0; i < length; ++i) {
                            out[at - first + i] = config_.factor * kept[from - rank + i];
                          }
                        });
  });
}

Result<std::unique_ptr<Codec>> BuildMasked(const Chain& chain, const Shape& shape,
                                           std::unique_ptr<SupportRule> rule, bool unbiased,
                                           std::size_t parameters_offset) {
  const std::size_t count = shape.count();
  const std::size_t block = rule->block();
  const std::size_t kept = rule->kept_blocks();
  const std::size_t without_last = kept * block;
  const std::size_t with_last = without_last - (rule->all_blocks() * block - count);
  std::vector<std::size_t> sizes = {with_last};
  if (kept < rule->all_blocks() && without_last != with_last) sizes.push_back(without_last);

  const Stage raw{.name = "raw", .arguments = {}, .options = {}};
  const Chain rest{.shape = nullptr,
                   .values = chain.values != nullptr ? chain.values : &raw,
                   .entropy = chain.entropy};
  const std::size_t values_offset = parameters_offset + rule->ParametersBytes();
  std::vector<std::unique_ptr<Codec>> values;
  for (const std::size_t size : sizes) {
    FL_TRY(std::unique_ptr<Codec> codec, HasLevels(rest)
                                             ? BuildLevels(rest, Shape{size})
                                             : BuildDense(rest, Shape{size}, values_offset));
    values.push_back(std::move(codec));
  }
  MaskedConfig config{.count = count, .parameters_offset = parameters_offset};
  if (unbiased) {
    config.factor =
        static_cast<float>(static_cast<double>(rule->all_blocks()) / static_cast<double>(kept));
  }
  return std::unique_ptr<Codec>(
      std::make_unique<Masked>(config, std::move(rule), std::move(values)));
}

}  // namespace fl
