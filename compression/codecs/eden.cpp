#include "fl/compression/codecs/eden.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "fl/common/base/error_detail.h"
#include "fl/common/tensor/half.h"
#include "fl/common/tensor/kernels/axpy.h"
#include "fl/compression/codecs/lloyd.h"
#include "fl/compression/codecs/normal_levels.h"
#include "fl/compression/entropy/pack.h"
#include "fl/compression/kernels/codebook.h"

namespace fl {
namespace {

constexpr std::size_t kSeedBytes = sizeof(std::uint32_t);
constexpr std::size_t kScaleBytes = sizeof(std::uint16_t);
constexpr std::uint32_t kLargestBfloat16 = 0x7F7F;

// A unit's values in the order in which they are written.
using UnitBuffer = std::array<float, kRotationBlockMax>;
using UnitCodes = std::array<std::uint8_t, kRotationBlockMax>;

template <typename Word>
Word ReadWord(ByteSpan bytes) {
  Word word = 0;
  std::memcpy(&word, bytes.data(), sizeof(word));
  return word;
}

// Calls use(j, place) for the places of a unit in the order in which they are written.
template <typename Use>
void ForPlaces(std::uint32_t seed, std::size_t unit, std::size_t size, Use use) {
  RngStream rng = RngStream(seed).Child("places", unit);
  const std::uint32_t factor = rng.NextU32() | 1U;
  const std::uint32_t mask = static_cast<std::uint32_t>(std::bit_ceil(size)) - 1;
  std::uint32_t place = rng.NextU32() & mask;
  for (std::size_t j = 0; j < size; place = (place + factor) & mask) {
    if (place < size) use(j++, place);
  }
}

// Up or down to a bf16 with the chances that keep the expectation; `value` >= 0 and finite.
std::uint16_t RoundScale(float value, RngStream& rng) {
  const auto bits = std::bit_cast<std::uint32_t>(value) + (rng.NextU32() >> 16);
  return static_cast<std::uint16_t>(std::min(bits >> 16, kLargestBfloat16));
}

double SquaredLevels(std::span<const std::uint8_t> codes, std::span<const float> levels) {
  double sum = 0;
  for (const std::uint8_t code : codes) {
    const auto level = static_cast<double>(levels[code]);
    sum += level * level;
  }
  return sum;
}

void AddRun(ByteSpan packed, unsigned bits, float scale, std::span<float> values) {
  if (bits == 0 || values.empty()) return;
  UnitCodes buffer;
  const auto codes = std::span(buffer).first(values.size());
  UnpackCodes(packed, bits, 0, codes);
  kernels::AddCodebook(codes, NormalLevels(bits), scale, values);
}

}  // namespace

std::size_t Eden::Widths::high_bytes() const {
  return PackedBytes(high_count, low + 1);
}

std::size_t Eden::Widths::bytes() const {
  return kScaleBytes + high_bytes() + PackedBytes(size - high_count, low);
}

Eden::Widths Eden::WidthsOf(std::size_t size) const {
  const double whole = std::floor(config_.bits);
  const double high = (config_.bits - whole) * static_cast<double>(size);
  return {.low = static_cast<unsigned>(whole),
          .size = size,
          .high_count = std::min(size, static_cast<std::size_t>(std::ceil(high / 8)) * 8)};
}

ByteSpan Eden::UnitOf(ByteSpan payload, std::size_t count, std::size_t unit) const {
  const RotationUnits row{config_.block, count};
  return payload.subspan(kSeedBytes + unit * WidthsOf(config_.block).bytes(),
                         WidthsOf(row.size(unit)).bytes());
}

CodecTraits Eden::traits() const {
  return {.unbiased = !config_.nearest, .deterministic = false};
}

std::size_t Eden::EncodedBytes(std::size_t count) const {
  const std::size_t rest = count % config_.block;
  return kSeedBytes + count / config_.block * WidthsOf(config_.block).bytes() +
         (rest == 0 ? 0 : WidthsOf(rest).bytes());
}

Eden::RunSums Eden::ChooseCodes(std::span<const float> values, unsigned bits,
                                double root_mean_square, bool nearest,
                                std::span<std::uint8_t> codes) {
  if (bits == 0 || values.empty()) return {};
  std::array<float, 255> buffer;
  const auto thresholds = std::span(buffer).first((std::size_t{1} << bits) - 1);
  internal::ScaleThresholds(bits, root_mean_square, thresholds);
  kernels::FindCodes(values, thresholds, codes);
  const std::span<const float> levels = NormalLevels(bits);
  return {internal::SumOfProducts(values, levels, codes),
          nearest ? SquaredLevels(codes, levels) : 0};
}

// Where chance sends hardly any of the energy (few places, or values that the rotation rounds off),
// what makes up for the rest is held at a multiple that other values do not come near.
std::uint16_t Eden::ChooseScale(double squares, const RunSums& sums, const Widths& widths,
                                RngStream& rng) const {
  const double best = config_.nearest ? sums.products / sums.energy : squares / sums.products;
  if (!(best > 0)) return 0;
  const auto places = static_cast<double>(widths.size);
  const double sent = widths.low > 0 ? places : static_cast<double>(widths.high_count);
  // The root of places times the root mean square is the norm.
  const double most = 4 * std::sqrt(squares) * places / sent;
  constexpr double kLevelsAbove = 10;  // No level is larger.
  const double finite =
      static_cast<double>(std::numeric_limits<float>::max()) / (kLevelsAbove * std::sqrt(places));
  return RoundScale(static_cast<float>(std::min({best, most, finite})), rng);
}

void Eden::EncodeUnit(std::span<const float> values, std::span<float> rotated, RngStream& rng,
                      ByteWriter& out) const {
  const Widths widths = WidthsOf(values.size());
  const double squares = internal::SumOfSquares(values);
  UnitCodes buffer{};
  const auto codes = std::span(buffer).first(values.size());
  std::uint16_t scale = 0;
  if (squares > 0) {
    const double root_mean_square = std::sqrt(squares / static_cast<double>(values.size()));
    const RunSums high =
        ChooseCodes(rotated.first(widths.high_count), widths.low + 1, root_mean_square,
                    config_.nearest, codes.first(widths.high_count));
    const RunSums low =
        ChooseCodes(rotated.subspan(widths.high_count), widths.low, root_mean_square,
                    config_.nearest, codes.subspan(widths.high_count));
    scale = ChooseScale(
        squares, {.products = high.products + low.products, .energy = high.energy + low.energy},
        widths, rng);
  }
  if (scale == 0) std::ranges::fill(codes, std::uint8_t{0});
  out.Write(scale);
  PackCodes(codes.first(widths.high_count), widths.low + 1, out);
  if (widths.low > 0) PackCodes(codes.subspan(widths.high_count), widths.low, out);
}

void Eden::Encode(std::span<const float> values, RngStream& rng, ByteWriter& out) const {
  const std::uint32_t seed = rng.NextU32();
  out.Write(seed);
  const RotationUnits row{config_.block, values.size()};
  alignas(kRotationAlignment) UnitBuffer turned;
  alignas(kRotationAlignment) UnitBuffer ordered;
  for (std::size_t unit = 0; unit < row.units(); ++unit) {
    const auto own = values.subspan(row.first(unit), row.size(unit));
    const auto rotated = std::span(turned).first(own.size());
    RotateUnit(seed, unit, own, rotated);
    if (WidthsOf(own.size()).high_count == 0) {
      EncodeUnit(own, rotated, rng, out);
      continue;
    }
    ForPlaces(seed, unit, own.size(),
              [&](std::size_t j, std::size_t place) { ordered[j] = rotated[place]; });
    EncodeUnit(own, std::span(ordered).first(own.size()), rng, out);
  }
}

Result<> Eden::CheckUnit(ByteSpan unit, std::size_t size, const PayloadLimits& limits) const {
  const Widths widths = WidthsOf(size);
  const float scale = Bfloat16ToFloat(ReadWord<std::uint16_t>(unit));
  if (!std::isfinite(scale))
    return Error{ErrorCode::kNotFinite, "the scale is not finite", ErrorDetail::kScaleNotFinite};
  if (std::signbit(scale))
    return Error{ErrorCode::kMalformed, "expected a scale without a sign, found a negative one",
                 ErrorDetail::kScaleNegative};
  // The norm of the unit, so of any of its values.
  const double largest =
      static_cast<double>(scale) * std::sqrt(static_cast<double>(size)) *
      static_cast<double>(NormalLevels(widths.high_count > 0 ? widths.low + 1 : widths.low).back());
  if (!(largest <= static_cast<double>(limits.magnitude_max))) {
    return Error{ErrorCode::kLimitExceeded,
                 "expected magnitudes of at most " + std::to_string(limits.magnitude_max) +
                     ", found up to " + std::to_string(largest),
                 ErrorDetail::kValueTooLarge};
  }
  const ByteSpan high = unit.subspan(kScaleBytes, widths.high_bytes());
  const ByteSpan low = unit.subspan(kScaleBytes + widths.high_bytes());
  if (!PaddingIsZero(high, widths.high_count, widths.low + 1) ||
      !PaddingIsZero(low, size - widths.high_count, widths.low)) {
    return Error{ErrorCode::kMalformed, "expected zero bits after the last code",
                 ErrorDetail::kPaddingBits};
  }
  const auto is_set = [](std::byte byte) { return byte != std::byte{}; };
  if (scale == 0 && std::ranges::any_of(unit, is_set))
    return Error{ErrorCode::kMalformed, "expected codes of zero where the scale is zero",
                 ErrorDetail::kScaleUseless};
  return {};
}

Result<> Eden::Check(ByteSpan payload, std::size_t count, const PayloadLimits& limits) const {
  const RotationUnits row{config_.block, count};
  for (std::size_t unit = 0; unit < row.units(); ++unit) {
    const auto checked = CheckUnit(UnitOf(payload, count, unit), row.size(unit), limits);
    if (!checked) return checked.error().At("unit " + std::to_string(unit));
  }
  return {};
}

void Eden::DecodeUnit(ByteSpan unit, std::uint32_t seed, std::size_t index,
                      std::span<float> values) const {
  const Widths widths = WidthsOf(values.size());
  const float scale = Bfloat16ToFloat(ReadWord<std::uint16_t>(unit));
  alignas(kRotationAlignment) UnitBuffer buffer;
  const bool reordered = widths.high_count > 0;
  const auto ordered = reordered ? std::span(buffer).first(values.size()) : values;
  std::ranges::fill(ordered, 0.0F);
  AddRun(unit.subspan(kScaleBytes), widths.low + 1, scale, ordered.first(widths.high_count));
  AddRun(unit.subspan(kScaleBytes + widths.high_bytes()), widths.low, scale,
         ordered.subspan(widths.high_count));
  if (reordered) {
    ForPlaces(seed, index, values.size(),
              [&](std::size_t j, std::size_t place) { values[place] = ordered[j]; });
  }
  RotateUnitBack(seed, index, values);
}

void Eden::DecodeAdd(ByteSpan payload, std::size_t count, std::size_t first, float scale,
                     std::span<float> out) const {
  const auto seed = ReadWord<std::uint32_t>(payload);
  const RotationUnits row{config_.block, count};
  alignas(kRotationAlignment) UnitBuffer buffer;
  ForTouchedUnits(row, first, out.size(),
                  [&](std::size_t unit, std::size_t begin, std::size_t end) {
                    const auto values = std::span(buffer).first(row.size(unit));
                    DecodeUnit(UnitOf(payload, count, unit), seed, unit, values);
                    kernels::Axpy(scale, values.subspan(begin - row.first(unit), end - begin),
                                  out.subspan(begin - first, end - begin));
                  });
}

namespace {

Result<EdenConfig> ReadEden(const Stage& stage) {
  constexpr std::array<std::string_view, 2> kKnown = {"block", "scale"};
  FL_TRY(const StageOptions options, StageOptions::Read(stage, kKnown));
  EdenConfig config;
  const auto bits =
      stage.arguments.size() == 1 ? ParseNumber<double>(stage.arguments.front()) : std::nullopt;
  if (!bits || !(*bits >= 0.05) || *bits > 8)
    return RefuseStage(stage, "expected the bits of a value, 0.05 to 8, such as eden 1");
  config.bits = *bits;
  if (const std::string* block = options.Find("block")) {
    const auto value = ParseNumber<std::size_t>(*block);
    if (!value || !std::has_single_bit(*value) || *value < kRotationBlockMin ||
        *value > kRotationBlockMax) {
      return RefuseStage(
          stage, "block: expected a power of two from 64 to 4096, found \"" + *block + "\"");
    }
    config.block = *value;
  }
  if (const std::string* scale = options.Find("scale")) {
    if (*scale != "unbiased" && *scale != "nearest")
      return RefuseStage(stage, "scale: expected unbiased or nearest, found \"" + *scale + "\"");
    config.nearest = *scale == "nearest";
  }
  return config;
}

}  // namespace

Result<std::unique_ptr<ValueCoder>> BuildEden(const Stage& stage, bool after_shape) {
  FL_TRY(const EdenConfig config, ReadEden(stage));
  if (after_shape) {
    return RefuseStage(stage,
                       "a rotation is of whole blocks of a tensor, not of a list of kept values; "
                       "use lloyd there");
  }
  return std::unique_ptr<ValueCoder>(std::make_unique<Eden>(config));
}

}  // namespace fl
