#include "fl/compression/codecs/level_codec.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "fl/common/base/check.h"
#include "fl/common/base/error_detail.h"
#include "fl/common/tensor/half.h"
#include "fl/compression/codecs/dead_zone.h"
#include "fl/compression/codecs/level_quantize.h"
#include "fl/compression/codecs/quantize.h"
#include "fl/compression/codecs/ternary.h"

namespace fl {
namespace {

struct ParsedLevelPayload final : ParsedPayload {
  LevelScale scale;
  ParsedLevels levels;
};

// Adds scaled values to a block of coordinates.
class AddingSink final : public LevelSink {
 public:
  AddingSink(const LevelScale& levels, float scale, std::size_t first, std::span<float> out)
      : levels_(levels), scale_(scale), first_(first), out_(out) {}
  void Put(std::size_t index, std::int32_t level) override {
    out_[index - first_] += scale_ * levels_.ValueOf(level);
  }
  void PutPlaces(std::size_t to, std::span<const std::uint32_t> places,
                 std::span<const std::int32_t> levels) override {
    if (!has_list_) ListValues();
    float* const out = out_.data();
    for (std::size_t i = 0; i < places.size(); ++i) {
      const auto listed = static_cast<std::uint32_t>(levels[i] + kListed);
      out[to + places[i] - first_] +=
          listed < listed_.size() ? listed_[listed] : scale_ * levels_.ValueOf(levels[i]);
    }
  }
  void PutRun(std::size_t index, std::span<const std::int32_t> levels) override {
    AddRun(index, levels);
  }
  // The same, without branches that the levels decide where all are listed.
  template <typename Level>
  void AddRun(std::size_t index, std::span<const Level> levels) {
    const std::span<float> out = out_.subspan(index - first_, levels.size());
    if (!has_list_) ListValues();
    for (std::size_t i = 0; i < levels.size(); ++i) {
      const auto place = static_cast<std::uint32_t>(levels[i] + kListed);
      out[i] += place < listed_.size() ? listed_[place] : scale_ * levels_.ValueOf(levels[i]);
    }
  }

 private:
  void ListValues() {
    for (std::int32_t i = 0; i < 2 * kListed + 1; ++i)
      listed_[static_cast<std::size_t>(i)] = scale_ * levels_.ValueOf(i - kListed);
    listed_[kListed] = -0.0F;  // Changes nothing that it is added to.
    has_list_ = true;
  }

  static constexpr std::int32_t kListed = 127;  // Magnitudes whose scaled values are listed.

  const LevelScale levels_;
  const float scale_;
  std::array<float, 2 * kListed + 1> listed_{};
  bool has_list_ = false;
  const std::size_t first_;
  const std::span<float> out_;
};

std::uint16_t UpperHalf(float value) {
  return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16);
}

}  // namespace

LevelCodec::LevelCodec(std::unique_ptr<Leveller> leveller, const LevelCodecConfig& config)
    : leveller_(std::move(leveller)), config_(config) {
  config_.space.max = leveller_->level_max();
}

std::size_t LevelCodec::EncodedBytesMax() const {
  return 2 + (leveller_->has_offsets() ? 2 : 0) + (config_.code ? 0 : 1) +
         LevelBytesMax(config_.space);
}

void LevelCodec::EncodeLevels(internal::ScaledLevels& levels, std::span<float> decoded,
                              ByteWriter& out) const {
  const std::size_t start = out.size();
  out.Write(UpperHalf(levels.scale().step));
  const std::size_t offsets = out.size();
  if (leveller_->has_offsets()) out.bytes().resize(offsets + levels.scale().offsets.size());
  const std::size_t head = out.size();
  if (config_.code) {
    WriteLevels(*config_.code, levels, config_.space, out);
  } else {
    WriteSmallest(levels, config_.space, out);
  }
  if (out.size() == head) return out.bytes().resize(start);  // All levels are zero.
  const LevelScale scale = levels.scale();  // Offsets are known once all levels were read.
  for (std::size_t i = 0; i < scale.offsets.size() && leveller_->has_offsets(); ++i)
    out.bytes()[offsets + i] = static_cast<std::byte>(scale.offsets[i]);
  if (decoded.empty()) return;
  AddingSink sink(scale, 1.0F, 0, decoded);
  ForLevelBlocks(levels, count(), [&](std::size_t at, std::span<const std::int16_t> block) {
    sink.AddRun(at, block);
  });
}

void LevelCodec::Encode(std::span<const float> values, std::span<float> decoded,
                        const RoundParameters& parameters, RngStream rng, ByteWriter& out) const {
  WantsDecoded(values, decoded);
  std::ranges::fill(decoded, 0.0F);
  if (config_.kept) {
    const auto kept = config_.kept->CountAtRound(parameters.round, count());
    internal::KeptLevels levels(*leveller_, values, kept, rng);
    if (levels.scale().step > 0) EncodeLevels(levels, decoded, out);
  } else {
    internal::AllLevels levels(*leveller_, values, rng);
    if (levels.scale().step > 0) EncodeLevels(levels, decoded, out);
  }
}

Result<LevelScale> LevelCodec::ReadScale(ByteReader& reader) const {
  LevelScale scale;
  FL_TRY(const auto step, reader.Read<std::uint16_t>());
  scale.step = Bfloat16ToFloat(step);
  if (!std::isfinite(scale.step))
    return Error{ErrorCode::kNotFinite, "the step is not finite", ErrorDetail::kScaleNotFinite};
  if (!(scale.step > 0))
    return Error{ErrorCode::kMalformed,
                 "expected a step above 0, found " + std::to_string(scale.step),
                 ErrorDetail::kScaleNegative};
  if (leveller_->has_offsets()) {
    for (std::int16_t& offset : scale.offsets) {
      FL_TRY(const int byte, reader.Read<std::uint8_t>());
      offset = static_cast<std::int16_t>(byte < 128 ? byte : byte - 256);
    }
  }
  return scale;
}

Result<std::unique_ptr<ParsedPayload>> LevelCodec::Parse(ByteSpan payload,
                                                         const RoundParameters& /*parameters*/,
                                                         const PayloadLimits& limits) const {
  auto parsed = std::make_unique<ParsedLevelPayload>();
  if (payload.empty()) return std::unique_ptr<ParsedPayload>(std::move(parsed));
  ByteReader reader(payload);
  FL_TRY(parsed->scale, ReadScale(reader));
  const ByteSpan levels = payload.subspan(reader.position());
  FL_TRY(parsed->levels, config_.code ? ParsedLevels::Parse(*config_.code, levels, config_.space)
                                      : ParsedLevels::ParseTagged(levels, config_.space));
  const std::uint32_t largest = parsed->levels.largest();
  if (largest == 0)
    return Error{ErrorCode::kMalformed, "expected levels after the step",
                 ErrorDetail::kScaleUseless};
  if (largest == 1 && parsed->scale.offsets[1] != 0)
    return Error{ErrorCode::kMalformed, "expected no offset of levels that do not occur",
                 ErrorDetail::kScaleUseless};
  if (!(parsed->scale.Magnitude(largest) <= limits.magnitude_max)) {
    return Error{ErrorCode::kLimitExceeded,
                 "expected magnitudes of at most " + std::to_string(limits.magnitude_max) +
                     ", found " + std::to_string(parsed->scale.Magnitude(largest)),
                 ErrorDetail::kValueTooLarge};
  }
  return std::unique_ptr<ParsedPayload>(std::move(parsed));
}

void LevelCodec::DecodeAdd(const ParsedPayload& payload, std::size_t first, float scale,
                           std::span<float> out) const {
  FL_CHECK(first + out.size() <= count(), "a block of coordinates lies inside its segment");
  const auto& parsed = static_cast<const ParsedLevelPayload&>(payload);
  AddingSink sink(parsed.scale, scale, first, out);
  parsed.levels.Read(first, out.size(), sink);
}

namespace {

LevelSpace SpaceOf(const Shape& shape) {
  constexpr std::size_t kColumnsMax = 131072;
  constexpr std::size_t kRow = 64;
  const std::size_t last = shape.rank() < 2 ? 0 : shape[shape.rank() - 1];
  return {.count = shape.count(), .columns = last == 0 || last > kColumnsMax ? kRow : last};
}

std::optional<LevelCode> CodeNamed(const Stage* entropy) {
  if (entropy == nullptr) return std::nullopt;
  if (entropy->name == "pack") return LevelCode::kPack;
  if (entropy->name == "rice") return LevelCode::kRice;
  if (entropy->name == "rans") return LevelCode::kRans;
  if (entropy->name == "trits") return LevelCode::kTrits;
  return LevelCode::kContext;
}

bool HasStep(const Stage& stage) {
  return std::ranges::any_of(stage.options,
                             [](const auto& option) { return option.first == "step"; });
}

Result<std::unique_ptr<Leveller>> BuildLevelQuantize(const Stage& stage, const Stage* entropy) {
  LevelQuantizeConfig config;
  if (HasStep(stage)) {
    constexpr std::array<std::string_view, 1> kKnown = {"step"};
    FL_TRY(const StageOptions options, StageOptions::Read(stage, kKnown));
    const auto step = ParseNumber<float>(*options.Find("step"));
    if (!step || !(*step >= 0.001F) || !(*step <= 100)) {
      return RefuseStage(stage, "step: expected root mean squares, 0.001 to 100, found \"" +
                                    *options.Find("step") + "\"");
    }
    config.step = *step;
    for (const std::string& word : stage.arguments) {
      if (word != "stochastic" || config.stochastic)
        return RefuseStage(stage,
                           "with step=: expected stochastic or nothing, found \"" + word + "\"");
      config.stochastic = true;
    }
    return std::unique_ptr<Leveller>(std::make_unique<LevelQuantize>(config));
  }
  FL_TRY(const QuantizeStage quantize, ReadQuantize(stage));
  if (quantize.config.bits == 1 || quantize.config.asymmetric || quantize.per_channel ||
      quantize.group != 0 || quantize.shared) {
    return RefuseStage(*entropy,
                       "expected one symmetric grid of 2 to 8 bits before it, such as quantize 4");
  }
  config.level_max = (1U << (quantize.config.bits - 1)) - 1;
  config.stochastic = quantize.config.stochastic;
  return std::unique_ptr<Leveller>(std::make_unique<LevelQuantize>(config));
}

Result<std::unique_ptr<Leveller>> BuildLeveller(const Chain& chain) {
  const Stage& stage = *chain.values;
  if (stage.name == "quantize") return BuildLevelQuantize(stage, chain.entropy);
  if (stage.name == "dead_zone") {
    if (chain.shape != nullptr)
      return RefuseStage(
          stage, "cannot follow " + chain.shape->name + ": it chooses what is sent by itself");
    return BuildDeadZone(stage);
  }
  FL_TRY_OK(TakesNothing(stage));
  if (chain.shape == nullptr)
    return RefuseStage(stage, "needs top_k before it, such as top_k 1% | ternary");
  return std::unique_ptr<Leveller>(std::make_unique<Ternary>());
}

}  // namespace

bool HasLevels(const Chain& chain) {
  if (chain.values == nullptr) return false;
  const std::string& name = chain.values->name;
  if (name == "dead_zone" || name == "ternary") return true;
  const bool coded = chain.entropy != nullptr && chain.entropy->name != "pack";
  return name == "quantize" && (coded || HasStep(*chain.values));
}

Result<std::unique_ptr<Codec>> BuildLevels(const Chain& chain, const Shape& shape) {
  FL_TRY(std::unique_ptr<Leveller> leveller, BuildLeveller(chain));
  LevelCodecConfig config{.space = SpaceOf(shape), .kept = {}, .code = CodeNamed(chain.entropy)};
  if (config.code == LevelCode::kTrits && leveller->level_max() != 1) {
    return RefuseStage(
        *chain.entropy,
        "it codes three levels: expected top_k F% | ternary or quantize 2 before it, "
        "found " +
            chain.values->name);
  }
  if (chain.shape != nullptr) {
    FL_TRY(config.kept, ReadTopK(*chain.shape));
  }
  return std::unique_ptr<Codec>(std::make_unique<LevelCodec>(std::move(leveller), config));
}

}  // namespace fl
