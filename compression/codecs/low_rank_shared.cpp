#include "fl/compression/codecs/low_rank_shared.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "fl/common/base/check.h"
#include "fl/common/base/error_detail.h"
#include "fl/compression/codecs/factor_levels.h"
#include "fl/compression/codecs/factor_rounding.h"
#include "fl/compression/codecs/factorize.h"
#include "fl/compression/kernels/add_values.h"

namespace fl {
namespace {

constexpr std::size_t kHeadBytes = sizeof(std::uint64_t) + 1;  // Seed and side.
constexpr double kTolerance = 1e-3;  // Of products of directions, which are 1 or 0.

std::uint64_t SeedOf(ByteSpan part) {
  std::uint64_t seed = 0;
  std::memcpy(&seed, part.data(), sizeof(seed));
  return seed;
}

bool IsZero(std::span<const float> row) {
  return std::ranges::all_of(row, [](float value) { return value == 0; });
}

// Makes rows orthonormal, twice, since the first time they may be too small to be exact; those of
// which nothing is left are drawn anew, behind the others. Only exact arithmetic and roots, so that
// the bits are the same everywhere.
void CompleteBasis(std::span<float> rows, std::size_t rank, const RngStream& rng) {
  const std::size_t length = rows.size() / rank;
  for (std::uint64_t attempt = 0;; ++attempt) {
    internal::Orthonormalize(rows, rank);
    std::size_t kept = 0;
    for (std::size_t k = 0; k < rank; ++k) {
      const auto row = rows.subspan(k * length, length);
      if (IsZero(row)) continue;
      if (kept < k) std::ranges::copy(row, rows.subspan(kept * length, length).begin());
      ++kept;
    }
    if (kept == rank && attempt > 0) return;
    RngStream drawn = rng.Child("basis", attempt);
    for (float& value : rows.subspan(kept * length)) value = drawn.Uniform() - 0.5F;
  }
}

// The largest distance of a product of two directions from what it is in an orthonormal basis.
double Crookedness(std::span<const float> directions, std::size_t rank) {
  const std::size_t length = directions.size() / rank;
  double worst = 0;
  for (std::size_t i = 0; i < rank; ++i) {
    for (std::size_t k = 0; k <= i; ++k) {
      double product = 0;
      for (std::size_t at = 0; at < length; ++at) {
        product += static_cast<double>(directions[i * length + at]) *
                   static_cast<double>(directions[k * length + at]);
      }
      worst = std::max(worst, std::fabs(product - (i == k ? 1.0 : 0.0)));
    }
  }
  return worst;
}

float LargestMagnitude(std::span<const float> values) {
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::fabs(value));
  return largest;
}

}  // namespace

struct LowRankShared::Basis {
  bool of_rows = false;           // Side 1.
  std::vector<float> directions;  // rank rows of `rows` or `columns` values.
  std::vector<float> left;        // Of rows: rows x rank.
};

struct LowRankShared::Parsed final : ParsedPayload {
  std::shared_ptr<const Basis> basis;  // Shared with the round's other payloads.
  std::vector<float> factor;           // Side 0: rows x rank; side 1: rank x columns.
};

LowRankShared::LowRankShared(LowRankSharedConfig config, const Shape& shape)
    : config_(std::move(config)) {
  FL_CHECK(shape.rank() >= 2, "a matrix has two axes");
  columns_ = shape[shape.rank() - 1];
  rows_ = shape.count() / columns_;
  FL_CHECK(config_.rank >= 1 && config_.rank < std::min(rows_, columns_),
           "a basis leaves directions out on both sides");
  std::vector<float> directions(config_.rank * columns_);
  CompleteBasis(directions, config_.rank, RngStream(config_.initial));
  initial_ = PartOf(config_.initial, false, directions);
}

// What the basis has need not be where this update is; what it has is kept to what its coder loses.
CodecTraits LowRankShared::traits() const {
  CodecTraits traits{.needs_round_parameters = true, .server_state = true};
  if (config_.step > 0) return traits;
  const CodecTraits factors = config_.factors->traits();
  traits.deterministic = factors.deterministic;
  if (factors.relative_error) traits.relative_error = std::max(1.0, *factors.relative_error);
  return traits;
}

std::size_t LowRankShared::FactorBytes(std::size_t length) const {
  if (config_.step > 0) return internal::FactorBytesMax(length, 0, config_.rank);
  return config_.rank * config_.factors->EncodedBytes(length);
}

std::size_t LowRankShared::EncodedBytesMax() const {
  return std::max(FactorBytes(rows_), FactorBytes(columns_));
}

std::size_t LowRankShared::part_bytes() const {
  return kHeadBytes + config_.rank * std::max(rows_, columns_) * sizeof(float);
}

std::size_t LowRankShared::SentLength(const Basis& basis) const {
  return basis.of_rows ? columns_ : rows_;
}

Bytes LowRankShared::PartOf(std::uint64_t seed, bool of_rows,
                            std::span<const float> directions) const {
  ByteWriter out;
  out.Write(seed);
  out.Write(static_cast<std::uint8_t>(of_rows ? 1 : 0));
  out.WriteSpan(std::as_bytes(directions));
  Bytes part = std::move(out).Take();
  part.resize(part_bytes());
  return part;
}

Bytes LowRankShared::NextParameters(ByteSpan part, const RoundFeedback& feedback) const {
  const auto basis = ReadBasis(part);
  FL_CHECK(basis.has_value(), "a round's parameters are those that it was folded with");
  std::vector<float> directions = FactorOf(feedback.aggregate, *basis);
  const std::uint64_t seed = RngStream(SeedOf(part)).Child("next_basis").NextU64();
  CompleteBasis(directions, config_.rank, RngStream(seed));
  return PartOf(seed, !basis->of_rows, directions);
}

Result<LowRankShared::Basis> LowRankShared::ReadBasis(ByteSpan part) const {
  FL_CHECK(part.size() == part_bytes(), "a part has the size that its codec names");
  const auto refuse = [](const std::string& reason) {
    return Error{ErrorCode::kInvalidArgument, "round parameters: expected " + reason};
  };
  const auto side = std::to_integer<unsigned>(part[kHeadBytes - 1]);
  if (side > 1) return refuse("side 0 or 1, found " + std::to_string(side));
  Basis basis;
  basis.of_rows = side == 1;
  basis.directions.resize(config_.rank * (basis.of_rows ? rows_ : columns_));
  const std::size_t bytes = basis.directions.size() * sizeof(float);
  std::memcpy(basis.directions.data(), part.data() + kHeadBytes, bytes);
  const bool padded = std::ranges::all_of(part.subspan(kHeadBytes + bytes),
                                          [](std::byte byte) { return byte == std::byte{0}; });
  if (!padded) return refuse("zeros after the basis");
  const bool finite =
      std::ranges::all_of(basis.directions, [](float value) { return std::isfinite(value); });
  if (!finite || Crookedness(basis.directions, config_.rank) > kTolerance) {
    return refuse("an orthonormal basis");
  }
  if (basis.of_rows) {
    basis.left = internal::Transpose<float>(basis.directions, config_.rank);
  }
  return basis;
}

Result<std::shared_ptr<const LowRankShared::Basis>> LowRankShared::BasisOf(
    const RoundParameters& parameters) const {
  using Shared = std::shared_ptr<const Basis>;
  const std::size_t end = config_.parameters_offset + part_bytes();
  if (parameters.bytes.size() < end) {
    return Error{ErrorCode::kInvalidArgument, "round parameters: expected at least " +
                                                  std::to_string(end) + " bytes, found " +
                                                  std::to_string(parameters.bytes.size())};
  }
  const ByteSpan part = ByteSpan(parameters.bytes).subspan(config_.parameters_offset, part_bytes());
  const Shared known = remembered_.With([&](const Remembered& last) {
    return std::ranges::equal(last.part, part) ? last.basis : nullptr;
  });
  if (known != nullptr) return known;
  FL_TRY(Basis basis, ReadBasis(part));
  const Shared shared = std::make_shared<const Basis>(std::move(basis));
  remembered_.With([&](Remembered& last) { last = {Bytes(part.begin(), part.end()), shared}; });
  return shared;
}

Result<> LowRankShared::CheckParameters(const RoundParameters& parameters) const {
  FL_TRY_OK(BasisOf(parameters));
  return {};
}

// Direction by direction.
std::vector<float> LowRankShared::FactorOf(std::span<const float> matrix,
                                           const Basis& basis) const {
  const internal::MatrixView view{matrix, rows_, columns_};
  if (basis.of_rows) {
    return internal::ToFloats(internal::MultiplyLeft(view, basis.directions, config_.rank));
  }
  std::vector<float> factor(config_.rank * rows_);
  internal::MultiplyRight(view, basis.directions, config_.rank, factor);
  return factor;
}

void LowRankShared::Encode(std::span<const float> values, std::span<float> decoded,
                           const RoundParameters& parameters, RngStream rng,
                           ByteWriter& out) const {
  const bool wanted = WantsDecoded(values, decoded);
  const auto basis = BasisOf(parameters);
  FL_CHECK(basis.has_value(), "the round's parameters were checked when they came");
  const std::size_t start = out.size();
  const std::vector<float> factor = FactorOf(values, **basis);
  if (config_.step > 0) {
    internal::FactorLevels levels = internal::RoundFactor(factor, config_.rank, config_.step);
    internal::EncodeFactors(levels, out);
  } else {
    const std::size_t length = SentLength(**basis);
    for (std::size_t k = 0; k < config_.rank; ++k)
      config_.factors->Encode(std::span(factor).subspan(k * length, length), rng, out);
  }
  if (!wanted) return;
  std::ranges::fill(decoded, 0.0F);
  const auto parsed =
      Parse(ByteSpan(out.bytes()).subspan(start), parameters, {.magnitude_max = INFINITY});
  FL_CHECK(parsed.has_value(), "what Encode writes is what Parse accepts");
  DecodeAdd(**parsed, 0, 1.0F, decoded);
}

// Direction by direction.
Result<std::vector<float>> LowRankShared::ReadFactor(ByteSpan payload, std::size_t length,
                                                     const PayloadLimits& limits) const {
  const std::size_t expected = FactorBytes(length);
  if (payload.size() > expected || (config_.step == 0 && payload.size() < expected)) {
    return Error{ErrorCode::kMalformed,
                 std::string("expected ") + (config_.step > 0 ? "at most " : "") +
                     std::to_string(expected) + " bytes of a factor, found " +
                     std::to_string(payload.size()),
                 ErrorDetail::kPayloadBytes};
  }
  std::vector<float> factor(config_.rank * length);
  if (config_.step > 0) {
    internal::FactorLevels levels(length, 0, config_.rank);
    FL_TRY_OK(internal::DecodeFactors(payload, levels));
    for (std::size_t i = 0; i < factor.size(); ++i) {
      factor[i] =
          internal::FactorScale(levels.scales[i / length]) * static_cast<float>(levels.left[i]);
    }
    return factor;
  }
  ByteReader reader(payload);
  for (std::size_t k = 0; k < config_.rank; ++k) {
    FL_TRY(const ByteSpan bytes, reader.ReadSpan(config_.factors->EncodedBytes(length)));
    FL_TRY_OK(config_.factors->Check(bytes, length, limits));
    config_.factors->DecodeAdd(bytes, length, 0, 1.0F,
                               std::span(factor).subspan(k * length, length));
  }
  return factor;
}

Result<std::unique_ptr<ParsedPayload>> LowRankShared::Parse(ByteSpan payload,
                                                            const RoundParameters& parameters,
                                                            const PayloadLimits& limits) const {
  auto parsed = std::make_unique<Parsed>();
  FL_TRY(parsed->basis, BasisOf(parameters));
  FL_TRY(parsed->factor, ReadFactor(payload, SentLength(*parsed->basis), limits));
  const double largest = static_cast<double>(LargestMagnitude(parsed->factor)) *
                         static_cast<double>(LargestMagnitude(parsed->basis->directions)) *
                         static_cast<double>(config_.rank);
  if (!(largest <= static_cast<double>(limits.magnitude_max))) {
    return Error{ErrorCode::kLimitExceeded,
                 "factor: expected products of at most " + std::to_string(limits.magnitude_max) +
                     ", found up to " + std::to_string(largest),
                 ErrorDetail::kValueTooLarge};
  }
  if (!parsed->basis->of_rows) {
    parsed->factor = internal::Transpose<float>(parsed->factor, config_.rank);
  }
  return std::unique_ptr<ParsedPayload>(std::move(parsed));
}

void LowRankShared::DecodeAdd(const ParsedPayload& payload, std::size_t first, float scale,
                              std::span<float> out) const {
  FL_CHECK(first + out.size() <= count(), "a block of coordinates lies inside its segment");
  const auto& parsed = static_cast<const Parsed&>(payload);
  const Basis& basis = *parsed.basis;
  const std::span<const float> left = basis.of_rows ? basis.left : parsed.factor;
  const std::span<const float> right = basis.of_rows ? parsed.factor : basis.directions;
  std::size_t row = first / columns_;
  std::size_t column = first % columns_;
  for (std::size_t at = 0; at < out.size();) {
    const auto piece = out.subspan(at, std::min(columns_ - column, out.size() - at));
    kernels::AddFactorRow(left.subspan(row * config_.rank, config_.rank), right.subspan(column),
                          columns_, scale, piece);
    at += piece.size();
    column = 0;
    ++row;
  }
}

}  // namespace fl
