#include "fl/compression/codecs/quantize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "fl/common/base/error_detail.h"
#include "fl/common/tensor/half.h"
#include "fl/compression/codecs/grouped.h"
#include "fl/compression/entropy/pack.h"
#include "fl/compression/kernels/grid_codes.h"

namespace fl {
namespace internal {
namespace {

constexpr std::uint16_t kLargestBfloat16 = 0x7F7F;

}  // namespace

std::uint16_t Bfloat16Above(float value) {
  if (value < 0) return static_cast<std::uint16_t>(Bfloat16Below(-value) | 0x8000U);
  const auto bits = std::bit_cast<std::uint32_t>(std::fabs(value));  // A negative zero is zero.
  return static_cast<std::uint16_t>(
      std::min<std::uint32_t>((bits + 0xFFFFU) >> 16, kLargestBfloat16));
}

std::uint16_t Bfloat16Below(float value) {
  if (value < 0) return static_cast<std::uint16_t>(Bfloat16Above(-value) | 0x8000U);
  return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(std::fabs(value)) >> 16);
}

std::uint8_t CodeOf(float value, const kernels::LevelGrid& grid, unsigned code_max,
                    RngStream* rng) {
  if (!(grid.step > 0)) return static_cast<std::uint8_t>(grid.zero);
  const float place = kernels::PlaceOnGrid(value, grid, code_max);
  return rng == nullptr ? kernels::NearestCode(place) : kernels::RandomCode(place, rng->Uniform());
}

void CodesOf(std::span<const float> values, const kernels::LevelGrid& grid, unsigned code_max,
             RngStream* rng, std::span<std::uint8_t> codes) {
  if (!(grid.step > 0)) {
    std::ranges::fill(codes, static_cast<std::uint8_t>(grid.zero));
    return;
  }
  if (rng == nullptr) return kernels::FindGridCodes(values, grid, code_max, codes);
  alignas(64) std::array<float, 1024> uniforms;
  for (std::size_t at = 0; at < values.size(); at += uniforms.size()) {
    const std::size_t run = std::min(uniforms.size(), values.size() - at);
    rng->FillUniform(std::span(uniforms).first(run));
    kernels::FindRandomCodes(values.subspan(at, run), std::span(uniforms).first(run), grid,
                             code_max, codes.subspan(at, run));
  }
}

void GridCoder::Write(std::span<const float> piece, std::span<float> decoded, RngStream& rng,
                      ByteWriter& out) const {
  constexpr std::size_t kRun = 1024;  // Whole bytes, in the first cache.
  std::array<std::uint8_t, kRun> buffer;
  for (std::size_t at = 0; at < piece.size(); at += kRun) {
    const auto codes = std::span(buffer).first(std::min(kRun, piece.size() - at));
    CodesOf(piece.subspan(at, codes.size()), grid, code_max, stochastic ? &rng : nullptr, codes);
    PackCodes(codes, bits, out);
    if (decoded.empty()) continue;
    const auto seen = decoded.subspan(at, codes.size());
    std::ranges::fill(seen, 0.0F);
    kernels::AddLevels(std::as_bytes(codes), grid, 1.0F, seen);
  }
}

}  // namespace internal

namespace {

constexpr std::size_t kChunk =
    512;  // Codes unpacked at once: a buffer that stays in the first cache.

std::uint16_t ReadWord(ByteSpan bytes, std::size_t at) {
  std::uint16_t word = 0;
  std::memcpy(&word, bytes.data() + at, sizeof(word));
  return word;
}

}  // namespace

CodecTraits Quantize::traits() const {
  return {.unbiased = config_.stochastic, .deterministic = !config_.stochastic};
}

std::size_t Quantize::EncodedBytes(std::size_t count) const {
  return head_bytes() + PackedBytes(count, config_.bits);
}

unsigned Quantize::code_max() const {
  const unsigned codes = 1U << config_.bits;
  return config_.asymmetric || config_.bits == 1 ? codes - 1 : codes - 2;
}

kernels::LevelGrid Quantize::ReadGrid(ByteSpan payload, std::size_t channel) const {
  const std::size_t at = channel * grid_bytes();
  const float word = Bfloat16ToFloat(ReadWord(payload, at));
  if (config_.asymmetric)
    return {.step = Bfloat16ToFloat(ReadWord(payload, at + 2)), .low = word, .zero = 0};
  if (config_.bits == 1) return {.step = 2 * word, .low = -word, .zero = 0};
  return {.step = word, .low = 0, .zero = static_cast<int>(code_max() / 2)};
}

void Quantize::Extremes::Add(float value) {
  low = count == 0 ? value : std::min(low, value);
  high = count == 0 ? value : std::max(high, value);
  magnitude = std::max(magnitude, std::fabs(value));
  magnitudes += static_cast<double>(std::fabs(value));
  ++count;
}

void Quantize::WriteGrid(const Extremes& extremes, ByteWriter& out) const {
  if (extremes.count == 0) return out.WriteSpan(Bytes(grid_bytes()));
  if (config_.asymmetric) {
    const std::uint16_t low = internal::Bfloat16Below(extremes.low);
    const float range = extremes.high - Bfloat16ToFloat(low);
    out.Write(low);
    out.Write(internal::Bfloat16Above(range / static_cast<float>(code_max())));
  } else if (config_.bits == 1 && !config_.stochastic) {
    const double mean = extremes.magnitudes / static_cast<double>(extremes.count);
    out.Write(internal::Bfloat16Below(static_cast<float>(mean)));
  } else {
    const unsigned level_max = std::max(code_max() / 2, 1U);
    out.Write(internal::Bfloat16Above(extremes.magnitude / static_cast<float>(level_max)));
  }
}

// With one grid.
class Quantize::Pieces final : public PieceEncoder {
 public:
  explicit Pieces(const Quantize& quantize) : quantize_(quantize) {}

  bool measures() const override { return true; }
  void Measure(std::span<const float> piece) override {
    const QuantizeConfig& config = quantize_.config_;
    if (config.asymmetric || (config.bits == 1 && !config.stochastic)) {
      for (const float value : piece) extremes_.Add(value);
      return;
    }
    extremes_.magnitude = std::max(extremes_.magnitude, kernels::LargestMagnitude(piece));
    extremes_.count += piece.size();
  }

  void Begin(ByteWriter& out) override {
    const std::size_t start = out.size();
    quantize_.WriteGrid(extremes_, out);
    coder_ = {.grid = quantize_.ReadGrid(ByteSpan(out.bytes()).subspan(start), 0),
              .bits = quantize_.config_.bits,
              .code_max = quantize_.code_max(),
              .stochastic = quantize_.config_.stochastic};
  }

  void Write(std::span<const float> piece, std::span<float> decoded, RngStream& rng,
             ByteWriter& out) override {
    coder_.Write(piece, decoded, rng, out);
  }

 private:
  const Quantize& quantize_;  // The maker; it outlives this.
  Extremes extremes_;
  internal::GridCoder coder_;
};

std::unique_ptr<PieceEncoder> Quantize::EncodePieces() const {
  if (config_.channels > 1) return nullptr;
  return std::make_unique<Pieces>(*this);
}

void Quantize::Encode(std::span<const float> values, RngStream& rng, ByteWriter& out) const {
  if (config_.channels > 1) return EncodeChannels(values, rng, out);
  Pieces pieces(*this);
  pieces.Measure(values);
  pieces.Begin(out);
  pieces.Write(values, {}, rng, out);
}

void Quantize::EncodeChannels(std::span<const float> values, RngStream& rng,
                              ByteWriter& out) const {
  const std::size_t start = out.size();
  std::vector<Extremes> extremes(config_.channels);
  for (std::size_t i = 0, channel = 0; i < values.size(); ++i) {
    extremes[channel].Add(values[i]);
    if (++channel == extremes.size()) channel = 0;
  }
  for (const Extremes& one : extremes) WriteGrid(one, out);
  std::vector<kernels::LevelGrid> grids(config_.channels);
  for (std::size_t channel = 0; channel < grids.size(); ++channel) {
    grids[channel] = ReadGrid(ByteSpan(out.bytes()).subspan(start), channel);
  }
  RngStream* draws = config_.stochastic ? &rng : nullptr;
  std::vector<std::uint8_t> codes(values.size());
  for (std::size_t i = 0, channel = 0; i < codes.size(); ++i) {
    codes[i] = internal::CodeOf(values[i], grids[channel], code_max(), draws);
    if (++channel == grids.size()) channel = 0;
  }
  PackCodes(codes, config_.bits, out);
}

Result<> Quantize::CheckGrid(ByteSpan payload, std::size_t channel,
                             const PayloadLimits& limits) const {
  const std::string where = "grid " + std::to_string(channel);
  const kernels::LevelGrid grid = ReadGrid(payload, channel);
  if (!std::isfinite(grid.step) || !std::isfinite(grid.low))
    return Error{ErrorCode::kNotFinite, where + " is not finite", ErrorDetail::kScaleNotFinite};
  if (std::signbit(grid.step) || (config_.asymmetric && std::signbit(grid.low) && grid.low == 0)) {
    return Error{ErrorCode::kMalformed,
                 where + ": expected a step without a sign, found a negative one",
                 ErrorDetail::kScaleNegative};
  }
  const auto first = static_cast<float>(-grid.zero) * grid.step + grid.low;
  const auto last =
      static_cast<float>(static_cast<int>(code_max()) - grid.zero) * grid.step + grid.low;
  if (!(std::max(std::fabs(first), std::fabs(last)) <= limits.magnitude_max)) {
    return Error{ErrorCode::kLimitExceeded,
                 where + ": expected magnitudes of at most " +
                     std::to_string(limits.magnitude_max) + ", found " + std::to_string(last),
                 ErrorDetail::kValueTooLarge};
  }
  return {};
}

Result<> Quantize::CheckCodes(ByteSpan payload, std::size_t count) const {
  const ByteSpan packed = payload.subspan(head_bytes());
  if (!PaddingIsZero(packed, count, config_.bits)) {
    return Error{ErrorCode::kMalformed, "expected zero bits after the last code",
                 ErrorDetail::kPaddingBits};
  }
  std::vector<kernels::LevelGrid> grids;
  bool any_flat = false;
  for (std::size_t channel = 0; channel < config_.channels; ++channel) {
    grids.push_back(ReadGrid(payload, channel));
    any_flat = any_flat || grids.back().step == 0;
  }
  std::array<std::uint8_t, kChunk> buffer;
  for (std::size_t at = 0; at < count; at += kChunk) {
    const auto codes = std::span(buffer).first(std::min(kChunk, count - at));
    UnpackCodes(packed, config_.bits, at, codes);
    if (*std::ranges::max_element(codes) > code_max()) {
      return Error{ErrorCode::kMalformed,
                   "values from " + std::to_string(at) + " on: expected codes up to " +
                       std::to_string(code_max()) + ", found " +
                       std::to_string(*std::ranges::max_element(codes)),
                   ErrorDetail::kLevelUnknown};
    }
    for (std::size_t i = 0; any_flat && i < codes.size(); ++i) {
      const kernels::LevelGrid& grid = grids[(at + i) % grids.size()];
      if (grid.step == 0 && codes[i] != grid.zero) {
        return Error{ErrorCode::kMalformed,
                     "value " + std::to_string(at + i) + ": a level of a grid without a step",
                     ErrorDetail::kScaleUseless};
      }
    }
  }
  return {};
}

Result<> Quantize::Check(ByteSpan payload, std::size_t count, const PayloadLimits& limits) const {
  for (std::size_t channel = 0; channel < config_.channels; ++channel)
    FL_TRY_OK(CheckGrid(payload, channel, limits));
  return CheckCodes(payload, count);
}

void Quantize::DecodeAdd(ByteSpan payload, std::size_t /*count*/, std::size_t first, float scale,
                         std::span<float> out) const {
  if (config_.channels > 1) return DecodeAddChannels(payload, first, scale, out);
  const kernels::LevelGrid grid = ReadGrid(payload, 0);
  const ByteSpan packed = payload.subspan(head_bytes());
  if (config_.bits == 8)
    return kernels::AddLevels(packed.subspan(first, out.size()), grid, scale, out);
  std::array<std::uint8_t, kChunk> codes;
  for (std::size_t at = 0; at < out.size(); at += kChunk) {
    const auto block = out.subspan(at, std::min(kChunk, out.size() - at));
    UnpackCodes(packed, config_.bits, first + at, std::span(codes).first(block.size()));
    kernels::AddLevels(std::as_bytes(std::span(codes)).first(block.size()), grid, scale, block);
  }
}

void Quantize::DecodeAddChannels(ByteSpan payload, std::size_t first, float scale,
                                 std::span<float> out) const {
  const ByteSpan packed = payload.subspan(head_bytes());
  std::vector<float> steps(config_.channels);
  std::vector<float> lows(config_.channels);
  for (std::size_t channel = 0; channel < config_.channels; ++channel) {
    const kernels::LevelGrid grid = ReadGrid(payload, channel);
    steps[channel] = grid.step;
    lows[channel] = grid.low;
  }
  const std::int32_t zero = ReadGrid(payload, 0).zero;
  std::array<std::uint8_t, kChunk> codes;
  for (std::size_t at = 0; at < out.size(); at += kChunk) {
    const auto block = out.subspan(at, std::min(kChunk, out.size() - at));
    UnpackCodes(packed, config_.bits, first + at, std::span(codes).first(block.size()));
    std::size_t channel = (first + at) % config_.channels;
    for (std::size_t done = 0; done < block.size(); channel = 0) {
      const std::size_t run = std::min(config_.channels - channel, block.size() - done);
      kernels::AddLevelsOnGrids(std::as_bytes(std::span(codes)).subspan(done, run),
                                std::span(steps).subspan(channel, run),
                                std::span(lows).subspan(channel, run), zero, scale,
                                block.subspan(done, run));
      done += run;
    }
  }
}

namespace {

// tensor, channel or group:N.
Result<> ReadPer(const Stage& stage, std::string_view per, QuantizeStage& quantize) {
  constexpr std::string_view kGroup = "group:";
  constexpr std::size_t kGroupMin = 8;
  constexpr std::size_t kGroupMax = 65536;
  if (per.starts_with(kGroup)) {
    const auto size = ParseNumber<std::size_t>(per.substr(kGroup.size()));
    if (!size || *size < kGroupMin || *size > kGroupMax) {
      return RefuseStage(
          stage, "per: expected group:8 to group:65536, found \"" + std::string(per) + "\"");
    }
    quantize.group = *size;
    return {};
  }
  if (per != "tensor" && per != "channel") {
    return RefuseStage(
        stage, "per: expected tensor, channel or group:N, found \"" + std::string(per) + "\"");
  }
  quantize.per_channel = per == "channel";
  return {};
}

Result<> ReadQuantizeOptions(const Stage& stage, QuantizeStage& quantize) {
  constexpr std::array<std::string_view, 3> kKnown = {"per", "scale", "range"};
  FL_TRY(const StageOptions options, StageOptions::Read(stage, kKnown));
  if (const std::string* per = options.Find("per")) {
    FL_TRY_OK(ReadPer(stage, *per, quantize));
  }
  if (const std::string* scale = options.Find("scale")) {
    if (*scale != "own" && *scale != "shared")
      return RefuseStage(stage, "scale: expected own or shared, found \"" + *scale + "\"");
    quantize.shared = *scale == "shared";
  }
  if (const std::string* range = options.Find("range")) {
    if (!quantize.shared)
      return RefuseStage(stage, "range is for scale=shared; else the range is measured");
    const auto value = ParseNumber<float>(*range);
    if (!value || !std::isfinite(*value) || *value <= 0) {
      return RefuseStage(stage, "range: expected a number above 0, found \"" + *range + "\"");
    }
    quantize.range = *value;
  }
  return {};
}

}  // namespace

Result<QuantizeStage> ReadQuantize(const Stage& stage) {
  QuantizeStage quantize;
  if (stage.arguments.empty())
    return RefuseStage(stage, "expected the bits of a level, 1 to 8, such as quantize 8");
  const auto bits = ParseNumber<unsigned>(stage.arguments.front());
  if (!bits || *bits < 1 || *bits > 8) {
    return RefuseStage(
        stage, "expected the bits of a level, 1 to 8, found \"" + stage.arguments.front() + "\"");
  }
  quantize.config.bits = *bits;
  for (const std::string& word : std::span(stage.arguments).subspan(1)) {
    if (word != "stochastic" && word != "asymmetric") {
      return RefuseStage(stage, "expected stochastic or asymmetric, found \"" + word + "\"");
    }
    (word == "stochastic" ? quantize.config.stochastic : quantize.config.asymmetric) = true;
  }
  FL_TRY_OK(ReadQuantizeOptions(stage, quantize));
  if (quantize.shared &&
      (quantize.per_channel || quantize.group > 0 || quantize.config.asymmetric)) {
    return RefuseStage(stage,
                       "scale=shared has one symmetric grid, so it goes with neither per=channel "
                       "nor per=group nor asymmetric");
  }
  if (quantize.shared && *bits == 1)
    return RefuseStage(stage, "scale=shared needs at least 2 bits: one bit has no level for zero");
  return quantize;
}

Result<std::unique_ptr<ValueCoder>> BuildQuantize(const Stage& stage, const Shape& shape,
                                                  bool after_shape) {
  FL_TRY(QuantizeStage quantize, ReadQuantize(stage));
  if (quantize.per_channel) {
    if (after_shape)
      return RefuseStage(stage, "per=channel: kept values are a list without channels");
    if (shape.rank() < 2) {
      return RefuseStage(stage,
                         "per=channel needs at least two axes (channels are the last one), found " +
                             shape.ToText());
    }
    quantize.config.channels = shape[shape.rank() - 1];
  }
  auto values = std::make_unique<Quantize>(quantize.config);
  if (quantize.group > 0)
    return std::unique_ptr<ValueCoder>(
        std::make_unique<Grouped>(std::move(values), quantize.group));
  return std::unique_ptr<ValueCoder>(std::move(values));
}

}  // namespace fl
