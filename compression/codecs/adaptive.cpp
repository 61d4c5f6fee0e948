#include "fl/compression/codecs/adaptive.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "fl/common/base/check.h"
#include "fl/common/base/error_detail.h"
#include "fl/compression/codecs/low_rank.h"
#include "fl/compression/rate/encode_within.h"
#include "fl/compression/recipe.h"

namespace fl {
namespace {

bool IsLowRank(AdaptiveChoice choice) {
  return choice > AdaptiveChoice::kLowRank && choice <= LowRankChoice(kLowRankMax);
}
unsigned RankOf(AdaptiveChoice choice) {
  return static_cast<unsigned>(choice) - static_cast<unsigned>(AdaptiveChoice::kLowRank);
}

struct Range {
  double least;
  double most;
};
// What the recipes accept.
Range ParametersOf(AdaptiveChoice choice) {
  switch (choice) {
    case AdaptiveChoice::kRaw:
      return {0, 0};
    case AdaptiveChoice::kDeadZone:
      return {0.01, 100};
    case AdaptiveChoice::kTopK:
      return {1e-8, 1};
    case AdaptiveChoice::kQuantize:
      return {0.001, 100};
    default:
      return {0.1, 8};
  }
}

std::string Number(double value) {
  char text[48];
  const auto end = std::to_chars(std::begin(text), std::end(text), value, std::chars_format::fixed,
                                 value < 0.1 ? 8 : 4)
                       .ptr;
  return {std::begin(text), end};
}

std::unique_ptr<Codec> CodecFor(const AdaptiveSetting& setting, const Shape& shape) {
  auto recipe = ParseRecipe(ToText(setting));
  FL_CHECK(recipe.has_value(), "a setting's text is a recipe");
  auto codec = BuildCodec(*recipe, shape);
  FL_CHECK(codec.has_value(), "a setting's recipe is possible");
  return std::move(codec).value();
}

}  // namespace

AdaptiveSetting Coarser(const AdaptiveSetting& setting, double times) {
  const Range range = ParametersOf(setting.choice);
  const double wanted = setting.choice == AdaptiveChoice::kTopK ? setting.parameter / times
                                                                : setting.parameter * times;
  return {setting.choice, std::clamp(wanted, range.least, range.most)};
}

std::string ToText(const AdaptiveSetting& setting) {
  switch (setting.choice) {
    case AdaptiveChoice::kRaw:
      return "raw";
    case AdaptiveChoice::kDeadZone:
      return "dead_zone " + Number(setting.parameter) + " | context";
    case AdaptiveChoice::kTopK:
      return "top_k " + Number(100 * setting.parameter) + "% | ternary | context";
    case AdaptiveChoice::kQuantize:
      return "quantize step=" + Number(setting.parameter) + " | context";
    default:
      return "low_rank " + std::to_string(RankOf(setting.choice)) +
             " | quantize step=" + Number(setting.parameter) + " | context";
  }
}

std::string AdaptiveChoiceOf(ByteSpan payload) {
  if (payload.empty()) return "nothing";
  const auto choice = static_cast<AdaptiveChoice>(payload.front());
  switch (choice) {
    case AdaptiveChoice::kRaw:
      return "raw";
    case AdaptiveChoice::kDeadZone:
      return "dead_zone";
    case AdaptiveChoice::kTopK:
      return "top_k | ternary";
    case AdaptiveChoice::kQuantize:
      return "quantize";
    default:
      return IsLowRank(choice) ? "low_rank " + std::to_string(RankOf(choice)) : "unknown";
  }
}

struct AdaptiveCodec::Parsed final : ParsedPayload {
  std::unique_ptr<Codec> codec;  // Null: all values are zero.
  std::unique_ptr<ParsedPayload> payload;
};

AdaptiveCodec::AdaptiveCodec(const rate::BudgetRule& budget, Shape shape)
    : budget_(budget), shape_(std::move(shape)) {}

std::size_t AdaptiveCodec::EncodedBytesMax() const {
  return std::min<std::size_t>(budget_.bytes, 1 + sizeof(float) * count());
}

std::size_t AdaptiveCodec::columns() const {
  return shape_.rank() < 2 ? count() : shape_[shape_.rank() - 1];
}

unsigned AdaptiveCodec::rank_max() const {
  if (shape_.rank() < 2) return 0;
  return static_cast<unsigned>(std::min({std::size_t{kLowRankMax}, rows(), columns()}));
}

Bytes AdaptiveCodec::EncodeAs(const AdaptiveSetting& setting, std::span<const float> values,
                              std::span<float> decoded, const RngStream& rng) const {
  ByteWriter payload;
  payload.Write(static_cast<std::uint8_t>(setting.choice));
  CodecFor(setting, shape_)->Encode(values, decoded, {}, rng, payload);
  const bool any = std::ranges::any_of(decoded, [](float value) { return value != 0; });
  return any ? std::move(payload).Take() : Bytes();
}

void AdaptiveCodec::Encode(std::span<const float> values, std::span<float> decoded,
                           const RoundParameters& /*parameters*/, RngStream rng,
                           ByteWriter& out) const {
  const bool wanted = WantsDecoded(values, decoded);
  const rate::Source source{*this, values, rng};
  // The length of the payload, which EncodeWithin counts, is not part of it.
  const std::size_t bytes = EncodedBytesMax();
  rate::Written written =
      std::move(rate::EncodeWithin(std::span(&source, 1), bytes + VarintSize(bytes)).front());
  if (wanted) std::ranges::copy(written.decoded, decoded.begin());
  out.WriteSpan(written.payload);
}

Result<std::unique_ptr<ParsedPayload>> AdaptiveCodec::Parse(ByteSpan payload,
                                                            const RoundParameters& parameters,
                                                            const PayloadLimits& limits) const {
  auto parsed = std::make_unique<Parsed>();
  if (payload.empty()) return std::unique_ptr<ParsedPayload>(std::move(parsed));
  if (payload.size() > EncodedBytesMax()) {
    return Error{ErrorCode::kMalformed,
                 "expected at most " + std::to_string(EncodedBytesMax()) + " bytes, found " +
                     std::to_string(payload.size()),
                 ErrorDetail::kPayloadBytes};
  }
  const auto choice = static_cast<AdaptiveChoice>(payload.front());
  const bool known =
      choice <= AdaptiveChoice::kQuantize || (IsLowRank(choice) && RankOf(choice) <= rank_max());
  if (!known) {
    return Error{ErrorCode::kMalformed,
                 "choice " + std::to_string(static_cast<unsigned>(choice)) +
                     " does not exist for a segment of shape " + shape_.ToText(),
                 ErrorDetail::kChoiceUnknown};
  }
  if (payload.size() == 1) {
    return Error{ErrorCode::kMalformed, "expected a payload after the choice; zeros take no bytes",
                 ErrorDetail::kPayloadBytes};
  }
  // Any setting will do: what is read does not depend on it.
  parsed->codec = CodecFor(Coarser({choice, 1}, 1), shape_);
  FL_TRY(parsed->payload, parsed->codec->Parse(payload.subspan(1), parameters, limits));
  return std::unique_ptr<ParsedPayload>(std::move(parsed));
}

void AdaptiveCodec::DecodeAdd(const ParsedPayload& payload, std::size_t first, float scale,
                              std::span<float> out) const {
  FL_CHECK(first + out.size() <= count(), "a block of coordinates lies inside its segment");
  const auto& parsed = static_cast<const Parsed&>(payload);
  if (parsed.codec != nullptr) parsed.codec->DecodeAdd(*parsed.payload, first, scale, out);
}

Result<std::unique_ptr<Codec>> BuildAdaptive(const Chain& chain, const Shape& shape) {
  const Stage& stage = *chain.shape;
  if (chain.values != nullptr || chain.entropy != nullptr) {
    const Stage& next = chain.values != nullptr ? *chain.values : *chain.entropy;
    return RefuseStage(next, "cannot follow auto, which chooses all stages by itself");
  }
  FL_TRY(const rate::BudgetRule budget, rate::ReadBudget(stage));
  return std::unique_ptr<Codec>(std::make_unique<AdaptiveCodec>(budget, shape));
}

}  // namespace fl
