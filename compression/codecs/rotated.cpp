#include "fl/compression/codecs/rotated.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "fl/common/base/check.h"
#include "fl/common/tensor/kernels/axpy.h"
#include "fl/compression/codecs/dense.h"
#include "fl/compression/codecs/level_codec.h"

namespace fl {
namespace {

constexpr std::size_t kSeedBytes = sizeof(std::uint32_t);

struct ParsedRotated final : ParsedPayload {
  std::uint32_t seed = 0;
  std::unique_ptr<ParsedPayload> values;
};

}  // namespace

Rotated::Rotated(const RotatedConfig& config, std::unique_ptr<Codec> values)
    : config_(config), values_(std::move(values)) {
  FL_CHECK(std::has_single_bit(config.block) && config.block >= kRotationBlockMin &&
               config.block <= kRotationBlockMax,
           "a rotation's block is a power of two that its buffers hold");
}

CodecTraits Rotated::traits() const {
  CodecTraits traits = values_->traits();
  traits.lossless = false;
  traits.deterministic = traits.deterministic && config_.shared;
  traits.needs_round_parameters = traits.needs_round_parameters || config_.shared;
  traits.shared_randomness = config_.shared;
  traits.granularity = config_.block;
  return traits;
}

std::size_t Rotated::EncodedBytesMax() const {
  return (config_.shared ? 0 : kSeedBytes) + values_->EncodedBytesMax();
}

// Segments differ in where their part begins, so they differ in their rotation.
Bytes Rotated::InitialParameters() const {
  ByteWriter out;
  if (config_.shared) out.Write(static_cast<std::uint32_t>(config_.parameters_offset));
  out.WriteSpan(values_->InitialParameters());
  return std::move(out).Take();
}

Result<std::uint32_t> Rotated::ReadSharedSeed(const RoundParameters& parameters) const {
  std::uint32_t seed = 0;
  if (parameters.bytes.size() < config_.parameters_offset + kSeedBytes) {
    return Error{ErrorCode::kInvalidArgument,
                 "round parameters: expected at least " +
                     std::to_string(config_.parameters_offset + kSeedBytes) + " bytes, found " +
                     std::to_string(parameters.bytes.size())};
  }
  std::memcpy(&seed, parameters.bytes.data() + config_.parameters_offset, kSeedBytes);
  return seed;
}

Result<> Rotated::CheckParameters(const RoundParameters& parameters) const {
  if (config_.shared) FL_TRY_OK(ReadSharedSeed(parameters));
  return values_->CheckParameters(parameters);
}

void Rotated::Encode(std::span<const float> values, std::span<float> decoded,
                     const RoundParameters& parameters, RngStream rng, ByteWriter& out) const {
  const bool wanted = WantsDecoded(values, decoded);
  std::uint32_t seed = 0;
  if (config_.shared) {
    const auto shared = ReadSharedSeed(parameters);
    FL_CHECK(shared.has_value(), "the round's parameters were checked when they came");
    seed = *shared;
  } else {
    seed = rng.NextU32();
    out.Write(seed);
  }
  if (const auto pieces = values_->EncodePieces(parameters))
    return EncodeUnits(seed, values, decoded, *pieces, rng, out);
  std::vector<float> rotated(values.begin(), values.end());
  const RotationUnits units = row();
  for (std::size_t unit = 0; unit < units.units(); ++unit) {
    const auto own = std::span(rotated).subspan(units.first(unit), units.size(unit));
    RotateUnit(seed, unit, own, own);
  }
  values_->Encode(rotated, decoded, parameters, rng, out);
  for (std::size_t unit = 0; wanted && unit < units.units(); ++unit)
    RotateUnitBack(seed, unit, decoded.subspan(units.first(unit), units.size(unit)));
}

// Where values are measured, rotating them twice takes less time than memory for all of them would.
void Rotated::EncodeUnits(std::uint32_t seed, std::span<const float> values,
                          std::span<float> decoded, PieceEncoder& pieces, RngStream& rng,
                          ByteWriter& out) const {
  out.bytes().reserve(out.size() + values_->EncodedBytesMax());
  const RotationUnits units = row();
  const bool wanted = !decoded.empty();  // Then there is such memory.
  const bool measured = pieces.measures();
  alignas(kRotationAlignment) std::array<float, kRotationBlockMax> buffer;
  const auto place_of = [&](std::size_t unit) {
    const std::size_t size = units.size(unit);
    return wanted ? decoded.subspan(units.first(unit), size) : std::span(buffer).first(size);
  };
  const auto rotate = [&](std::size_t unit) {
    const auto rotated = place_of(unit);
    RotateUnit(seed, unit, values.subspan(units.first(unit), rotated.size()), rotated);
    return rotated;
  };
  for (std::size_t unit = 0; measured && unit < units.units(); ++unit) pieces.Measure(rotate(unit));
  pieces.Begin(out);
  for (std::size_t unit = 0; unit < units.units(); ++unit) {
    const auto rotated = wanted && measured ? place_of(unit) : rotate(unit);
    pieces.Write(rotated, wanted ? rotated : decoded, rng, out);
    if (wanted) RotateUnitBack(seed, unit, rotated);
  }
}

Result<std::unique_ptr<ParsedPayload>> Rotated::Parse(ByteSpan payload,
                                                      const RoundParameters& parameters,
                                                      const PayloadLimits& limits) const {
  auto parsed = std::make_unique<ParsedRotated>();
  ByteReader reader(payload);
  if (config_.shared) {
    FL_TRY(parsed->seed, ReadSharedSeed(parameters));
  } else {
    FL_TRY(parsed->seed, reader.Read<std::uint32_t>());
  }
  // The norm of a unit is that of its rotation: at most sqrt(N) times the largest value there.
  const auto spread = static_cast<float>(std::sqrt(static_cast<double>(config_.block)));
  const PayloadLimits rotated{.magnitude_max = limits.magnitude_max / spread};
  FL_TRY(parsed->values, values_->Parse(payload.subspan(reader.position()), parameters, rotated));
  return std::unique_ptr<ParsedPayload>(std::move(parsed));
}

void Rotated::DecodeAdd(const ParsedPayload& payload, std::size_t first, float scale,
                        std::span<float> out) const {
  FL_CHECK(first + out.size() <= count(), "a block of coordinates lies inside its segment");
  const auto& parsed = static_cast<const ParsedRotated&>(payload);
  const RotationUnits units = row();
  alignas(kRotationAlignment) std::array<float, kRotationBlockMax> buffer;
  ForTouchedUnits(units, first, out.size(),
                  [&](std::size_t unit, std::size_t begin, std::size_t end) {
                    const auto values = std::span(buffer).first(units.size(unit));
                    std::ranges::fill(values, 0.0F);
                    values_->DecodeAdd(*parsed.values, units.first(unit), 1.0F, values);
                    RotateUnitBack(parsed.seed, unit, values);
                    kernels::Axpy(scale, values.subspan(begin - units.first(unit), end - begin),
                                  out.subspan(begin - first, end - begin));
                  });
}

void Rotated::DecodeAddIntegers(const ParsedPayload& payload, std::size_t first,
                                std::span<std::int64_t> out) const {
  values_->DecodeAddIntegers(*static_cast<const ParsedRotated&>(payload).values, first, out);
}

void Rotated::Finish(std::span<const std::int64_t> sum, std::size_t summands,
                     const RoundParameters& parameters, std::size_t first,
                     std::span<float> out) const {
  const std::size_t end = first + out.size();
  FL_CHECK(config_.shared && end <= count() && first % config_.block == 0 &&
               (end % config_.block == 0 || end == count()),
           "a sum is rotated back in whole units");
  const auto seed = ReadSharedSeed(parameters);
  FL_CHECK(seed.has_value(), "the round's parameters are those that its payloads were parsed with");
  values_->Finish(sum, summands, parameters, first, out);
  const RotationUnits units = row();
  ForTouchedUnits(units, first, out.size(),
                  [&](std::size_t unit, std::size_t begin, std::size_t unit_end) {
                    RotateUnitBack(*seed, unit, out.subspan(begin - first, unit_end - begin));
                  });
}

namespace {

Result<RotatedConfig> ReadHadamard(const Stage& stage) {
  constexpr std::array<std::string_view, 1> kKnown = {"seed"};
  FL_TRY(const StageOptions options, StageOptions::Read(stage, kKnown));
  RotatedConfig config;
  const auto block = stage.arguments.size() == 1 ? ParseNumber<std::size_t>(stage.arguments.front())
                                                 : std::nullopt;
  if (!block || !std::has_single_bit(*block) || *block < kRotationBlockMin ||
      *block > kRotationBlockMax) {
    return RefuseStage(stage,
                       "expected the block, a power of two from 64 to 4096, such as hadamard 1024");
  }
  config.block = *block;
  if (const std::string* seed = options.Find("seed")) {
    if (*seed != "own" && *seed != "shared")
      return RefuseStage(stage, "seed: expected own or shared, found \"" + *seed + "\"");
    config.shared = *seed == "shared";
  }
  return config;
}

}  // namespace

Result<std::unique_ptr<Codec>> BuildRotated(const Chain& chain, const Shape& shape,
                                            std::size_t parameters_offset) {
  FL_TRY(RotatedConfig config, ReadHadamard(*chain.shape));
  config.parameters_offset = parameters_offset;
  if (chain.values == nullptr) {
    return RefuseStage(*chain.shape,
                       "a rotation alone saves nothing; expected how its values are written, such "
                       "as hadamard 1024 | quantize 4");
  }
  // Rotated values have no channels: a row of numbers.
  const std::size_t values_offset = parameters_offset + (config.shared ? kSeedBytes : 0);
  const Chain rest{.shape = nullptr, .values = chain.values, .entropy = chain.entropy};
  const Shape rotated{shape.count()};
  FL_TRY(std::unique_ptr<Codec> values,
         HasLevels(rest) ? BuildLevels(rest, rotated) : BuildDense(rest, rotated, values_offset));
  if (values->traits().linear && !config.shared) {
    return RefuseStage(*chain.values,
                       "scale=shared after hadamard: each client's rotation is its own, so levels "
                       "cannot be summed; use hadamard " +
                           std::to_string(config.block) + " seed=shared");
  }
  return std::unique_ptr<Codec>(std::make_unique<Rotated>(config, std::move(values)));
}

}  // namespace fl
