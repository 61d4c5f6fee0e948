#include "fl/compression/codecs/lloyd.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "fl/common/base/error_detail.h"
#include "fl/common/tensor/half.h"
#include "fl/compression/codecs/normal_levels.h"
#include "fl/compression/entropy/pack.h"
#include "fl/compression/kernels/codebook.h"
#include "fl/compression/kernels/partial_sums.h"

namespace fl {
namespace internal {

double SumOfSquares(std::span<const float> values) {
  kernels::PartialSums sums{};
  kernels::AddSquares(values, sums);
  return kernels::Total(sums);
}

double SumOfProducts(std::span<const float> values, std::span<const float> levels,
                     std::span<const std::uint8_t> codes) {
  kernels::PartialSums sums{};
  alignas(64) std::array<float, 1024> buffer;
  for (std::size_t at = 0; at < values.size(); at += buffer.size()) {
    const auto found = std::span(buffer).first(std::min(buffer.size(), values.size() - at));
    kernels::FindLevels(codes.subspan(at, found.size()), levels, found);
    kernels::AddProducts(values.subspan(at, found.size()), found, sums);
  }
  return kernels::Total(sums);
}

void ScaleThresholds(unsigned bits, double root_mean_square, std::span<float> thresholds) {
  const std::span<const float> normal = NormalThresholds(bits);
  for (std::size_t i = 0; i < normal.size(); ++i) {
    thresholds[i] = static_cast<float>(static_cast<double>(normal[i]) * root_mean_square);
  }
}

}  // namespace internal

namespace {

constexpr std::size_t kScaleBytes = 2;
constexpr std::size_t kRun = 512;  // Codes unpacked at once.

float ReadScale(ByteSpan payload) {
  std::uint16_t bits = 0;
  std::memcpy(&bits, payload.data(), sizeof(bits));
  return Bfloat16ToFloat(bits);
}

// The scale with the least squared error, held where no level overflows.
std::uint16_t BestScale(std::span<const float> values, std::span<const float> levels,
                        std::span<const std::uint8_t> codes) {
  std::array<std::size_t, 256> uses{};
  for (const std::uint8_t code : codes) ++uses[code];
  double energy = 0;
  for (std::size_t code = 0; code < levels.size(); ++code) {
    const auto level = static_cast<double>(levels[code]);
    energy += static_cast<double>(uses[code]) * level * level;
  }
  const double best = internal::SumOfProducts(values, levels, codes) / energy;
  const double largest = static_cast<double>(std::numeric_limits<float>::max()) /
                         (2 * static_cast<double>(levels.back()));
  return FloatToBfloat16(static_cast<float>(std::min(best, largest)));
}

}  // namespace

std::size_t Lloyd::EncodedBytes(std::size_t count) const {
  return kScaleBytes + PackedBytes(count, bits_);
}

void Lloyd::Encode(std::span<const float> values, RngStream& /*rng*/, ByteWriter& out) const {
  const double squares = internal::SumOfSquares(values);
  std::vector<std::uint8_t> codes(values.size());
  std::uint16_t scale = 0;
  if (squares > 0) {
    std::array<float, 255> buffer;
    const auto thresholds = std::span(buffer).first((std::size_t{1} << bits_) - 1);
    internal::ScaleThresholds(bits_, std::sqrt(squares / static_cast<double>(values.size())),
                              thresholds);
    kernels::FindCodes(values, thresholds, codes);
    scale = BestScale(values, NormalLevels(bits_), codes);
  }
  if (scale == 0) std::ranges::fill(codes, std::uint8_t{0});
  out.Write(scale);
  PackCodes(codes, bits_, out);
}

Result<> Lloyd::Check(ByteSpan payload, std::size_t count, const PayloadLimits& limits) const {
  const float scale = ReadScale(payload);
  if (!std::isfinite(scale))
    return Error{ErrorCode::kNotFinite, "the scale is not finite", ErrorDetail::kScaleNotFinite};
  if (std::signbit(scale)) {
    return Error{ErrorCode::kMalformed, "expected a scale without a sign, found a negative one",
                 ErrorDetail::kScaleNegative};
  }
  const float largest = scale * NormalLevels(bits_).back();
  if (!(largest <= limits.magnitude_max)) {
    return Error{ErrorCode::kLimitExceeded,
                 "expected magnitudes of at most " + std::to_string(limits.magnitude_max) +
                     ", found " + std::to_string(largest),
                 ErrorDetail::kValueTooLarge};
  }
  const ByteSpan packed = payload.subspan(kScaleBytes);
  if (!PaddingIsZero(packed, count, bits_))
    return Error{ErrorCode::kMalformed, "expected zero bits after the last code",
                 ErrorDetail::kPaddingBits};
  if (scale == 0 && std::ranges::any_of(packed, [](std::byte byte) { return byte != std::byte{}; }))
    return Error{ErrorCode::kMalformed, "expected codes of zero where the scale is zero",
                 ErrorDetail::kScaleUseless};
  return {};
}

void Lloyd::DecodeAdd(ByteSpan payload, std::size_t /*count*/, std::size_t first, float scale,
                      std::span<float> out) const {
  const float own = ReadScale(payload);
  std::array<float, 256> values;
  const std::span<const float> levels = NormalLevels(bits_);
  for (std::size_t i = 0; i < levels.size(); ++i) values[i] = own * levels[i];
  std::array<std::uint8_t, kRun> codes;
  for (std::size_t at = 0; at < out.size(); at += kRun) {
    const auto block = out.subspan(at, std::min(kRun, out.size() - at));
    const auto run = std::span(codes).first(block.size());
    UnpackCodes(payload.subspan(kScaleBytes), bits_, first + at, run);
    kernels::AddCodebook(run, std::span(values).first(levels.size()), scale, block);
  }
}

Result<std::unique_ptr<ValueCoder>> BuildLloyd(const Stage& stage) {
  FL_TRY_OK(StageOptions::Read(stage, {}));
  const auto bits =
      stage.arguments.size() == 1 ? ParseNumber<unsigned>(stage.arguments.front()) : std::nullopt;
  if (!bits || *bits < 1 || *bits > 8)
    return RefuseStage(stage, "expected the bits of a level, 1 to 8, such as lloyd 4");
  return std::unique_ptr<ValueCoder>(std::make_unique<Lloyd>(*bits));
}

}  // namespace fl
