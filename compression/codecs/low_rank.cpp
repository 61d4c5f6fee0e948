#include "fl/compression/codecs/low_rank.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "fl/common/base/check.h"
#include "fl/common/base/error_detail.h"
#include "fl/common/tensor/half.h"
#include "fl/compression/codecs/factor_levels.h"
#include "fl/compression/codecs/factor_rounding.h"
#include "fl/compression/codecs/factorize.h"
#include "fl/compression/codecs/quantize.h"
#include "fl/compression/entropy/pack.h"
#include "fl/compression/kernels/add_values.h"

namespace fl {
namespace {

int LevelMax(unsigned bits) {
  return (1 << (bits - 1)) - 1;
}

// Levels and back: what stands in the payload is level + LevelMax(bits).
std::vector<std::uint8_t> CodesOf(std::span<const float> values, float step, unsigned bits) {
  const kernels::LevelGrid grid{.step = step, .low = 0, .zero = LevelMax(bits)};
  std::vector<std::uint8_t> codes(values.size());
  for (std::size_t i = 0; i < codes.size(); ++i) {
    codes[i] = internal::CodeOf(values[i], grid, 2 * static_cast<unsigned>(grid.zero), nullptr);
  }
  return codes;
}

Result<std::vector<float>> ReadLevels(ByteSpan packed, std::size_t count, unsigned bits) {
  std::vector<std::uint8_t> codes(count);
  UnpackCodes(packed, bits, 0, codes);
  std::vector<float> levels(count);
  for (std::size_t i = 0; i < count; ++i) {
    if (codes[i] > 2 * LevelMax(bits)) {
      return Error{
          ErrorCode::kMalformed,
          "level " + std::to_string(i) + ": code " + std::to_string(codes[i]) + " is unused",
          ErrorDetail::kLevelUnknown};
    }
    levels[i] = static_cast<float>(codes[i] - LevelMax(bits));
  }
  if (!PaddingIsZero(packed, count, bits))
    return Error{ErrorCode::kMalformed, "expected zero bits after the last level",
                 ErrorDetail::kPaddingBits};
  return levels;
}

// A row of numbers as a value coder wrote it, into zeros.
Result<> ReadNumbers(const ValueCoder& coder, const PayloadLimits& limits, ByteReader& reader,
                     std::span<float> out) {
  FL_TRY(const ByteSpan bytes, reader.ReadSpan(coder.EncodedBytes(out.size())));
  FL_TRY_OK(coder.Check(bytes, out.size(), limits));
  coder.DecodeAdd(bytes, out.size(), 0, 1.0F, out);
  return {};
}

float LargestMagnitude(std::span<const float> values) {
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::fabs(value));
  return largest;
}

// Rounds each direction of P to levels, refits V, and writes levels of P, scales and levels of V.
void WriteLevels(const internal::MatrixView& matrix, std::span<const float> left, std::size_t rank,
                 unsigned bits, ByteWriter& out) {
  std::vector<std::uint8_t> codes;
  std::vector<float> rounded(left.size());
  for (std::size_t k = 0; k < rank; ++k) {
    const auto direction = left.subspan(k * matrix.rows, matrix.rows);
    const auto of_direction =
        CodesOf(direction, internal::BestStep(direction, LevelMax(bits)), bits);
    for (std::size_t i = 0; i < matrix.rows; ++i) {
      rounded[k * matrix.rows + i] = static_cast<float>(of_direction[i] - LevelMax(bits));
    }
    codes.insert(codes.end(), of_direction.begin(), of_direction.end());
  }
  PackCodes(internal::Transpose<std::uint8_t>(codes, rank), bits, out);
  const std::vector<float> right = internal::FitRight(matrix, rounded, rank);
  codes.clear();
  for (std::size_t k = 0; k < rank; ++k) {
    const auto row = std::span(right).subspan(k * matrix.columns, matrix.columns);
    const std::uint16_t scale = internal::Bfloat16Above(internal::BestStep(row, LevelMax(bits)));
    const auto of_row = CodesOf(row, Bfloat16ToFloat(scale), bits);
    out.Write(scale);
    codes.insert(codes.end(), of_row.begin(), of_row.end());
  }
  PackCodes(codes, bits, out);
}

}  // namespace

struct LowRank::Parsed final : ParsedPayload {
  std::size_t rank = 0;
  std::vector<float> left;   // rows x rank.
  std::vector<float> right;  // rank x columns.
};

LowRank::LowRank(LowRankConfig config, const Shape& shape) : config_(std::move(config)) {
  FL_CHECK(shape.rank() >= 2, "a matrix has two axes");
  columns_ = shape[shape.rank() - 1];
  rows_ = shape.count() / columns_;
  rank_ = std::min({std::size_t{config_.rank}, rows_, columns_});
}

std::size_t LowRank::FactorBytes(std::size_t rank) const {
  if (rank == 0) return 0;
  if (config_.step > 0) return internal::FactorBytesMax(rows_, columns_, rank);
  if (config_.factor_bits == 0)
    return config_.factors->EncodedBytes(rows_ * rank) +
           rank * config_.factors->EncodedBytes(columns_);
  return PackedBytes(rows_ * rank, config_.factor_bits) + rank * 2 +
         PackedBytes(rank * columns_, config_.factor_bits);
}

std::size_t LowRank::EncodedBytesMax() const {
  if (!chosen()) return FactorBytes(rank_);
  const std::size_t bytes = 1 + FactorBytes(rank_);
  return config_.bytes > 0 ? std::min(bytes, config_.bytes) : bytes;
}

void LowRank::WriteNumbers(const internal::MatrixView& matrix, std::span<const float> left,
                           RngStream rng, ByteWriter& out) const {
  const std::size_t start = out.size();
  const std::size_t rank = left.size() / rows_;
  const std::vector<float> sent = internal::Transpose<float>(left, rank);
  config_.factors->Encode(sent, rng, out);
  std::vector<float> seen(sent.size());
  config_.factors->DecodeAdd(ByteSpan(out.bytes()).subspan(start), seen.size(), 0, 1.0F, seen);
  const std::vector<float> directions = internal::Transpose<float>(seen, rows_);
  const std::vector<float> right = internal::FitRight(matrix, directions, rank);
  for (std::size_t k = 0; k < rank; ++k)
    config_.factors->Encode(std::span(right).subspan(k * columns_, columns_), rng, out);
}

// Where the rank is chosen, directions at the end that rounding has emptied are left off.
std::size_t LowRank::WriteCoded(const internal::MatrixView& matrix, std::span<const float> left,
                                ByteWriter& out) const {
  const std::size_t start = out.size();
  for (std::size_t rank = left.size() / rows_; rank > 0;) {
    internal::FactorLevels levels =
        internal::RoundFactors(matrix, left.first(rank * rows_), config_.step);
    internal::EncodeFactors(levels, out);
    if (!chosen() || levels.scales.back() != 0) return rank;
    out.bytes().resize(start);
    while (rank > 0 && levels.scales[rank - 1] == 0) --rank;
  }
  return 0;
}

// The rank of what was written.
std::size_t LowRank::WriteFactors(const internal::MatrixView& matrix, std::span<const float> left,
                                  RngStream rng, ByteWriter& out) const {
  const std::size_t rank = left.size() / rows_;
  if (rank == 0) return 0;
  if (config_.step > 0) return WriteCoded(matrix, left, out);
  if (config_.factor_bits > 0) {
    WriteLevels(matrix, left, rank, config_.factor_bits, out);
  } else {
    WriteNumbers(matrix, left, rng, out);
  }
  return rank;
}

std::size_t LowRank::ChooseRank(const internal::MatrixView& matrix,
                                std::span<const double> energies,
                                std::span<const float> left) const {
  if (config_.energy > 0) {
    double wanted = 0;
    for (const float value : matrix.values)
      wanted += static_cast<double>(value) * static_cast<double>(value);
    wanted *= config_.energy;
    double kept = 0;
    std::size_t rank = 0;
    while (rank < rank_ && kept < wanted) kept += energies[rank++];
    return rank;
  }
  const auto fits = [&](std::size_t rank) {
    if (config_.step == 0) return 1 + FactorBytes(rank) <= config_.bytes;
    ByteWriter trial;
    WriteCoded(matrix, left.first(rank * rows_), trial);
    return 1 + trial.size() <= config_.bytes;
  };
  std::size_t good = 0;
  std::size_t bad = rank_ + 1;
  while (good + 1 < bad) {
    const std::size_t middle = good + (bad - good) / 2;
    (fits(middle) ? good : bad) = middle;
  }
  return good;
}

void LowRank::Encode(std::span<const float> values, std::span<float> decoded,
                     const RoundParameters& parameters, RngStream rng, ByteWriter& out) const {
  const bool wanted = WantsDecoded(values, decoded);
  const std::size_t start = out.size();
  const internal::MatrixView matrix{values, rows_, columns_};
  std::vector<float> left =
      internal::LeadingLeftVectors(matrix, rank_, config_.iterations, rng.Child("low_rank"));
  if (chosen()) {
    const std::vector<double> energies = internal::OrderByEnergy(matrix, rank_, left);
    const std::size_t rank = ChooseRank(matrix, energies, left);
    ByteWriter factors;
    out.Write(static_cast<std::uint8_t>(
        WriteFactors(matrix, std::span(left).first(rank * rows_), rng, factors)));
    out.WriteSpan(factors.bytes());
  } else {
    WriteFactors(matrix, left, rng, out);
  }
  if (!wanted) return;
  std::ranges::fill(decoded, 0.0F);
  const auto parsed =
      Parse(ByteSpan(out.bytes()).subspan(start), parameters, {.magnitude_max = INFINITY});
  FL_CHECK(parsed.has_value(), "what Encode writes is what Parse accepts");
  DecodeAdd(**parsed, 0, 1.0F, decoded);
}

Result<> LowRank::ParseLevels(ByteSpan payload, Parsed& parsed) const {
  const std::size_t rank = parsed.rank;
  ByteReader reader(payload);
  FL_TRY(const ByteSpan left, reader.ReadSpan(PackedBytes(rows_ * rank, config_.factor_bits)));
  FL_TRY(parsed.left, ReadLevels(left, rows_ * rank, config_.factor_bits));
  std::vector<float> scales;
  for (std::size_t k = 0; k < rank; ++k) {
    FL_TRY(const std::uint16_t scale, reader.Read<std::uint16_t>());
    scales.push_back(Bfloat16ToFloat(scale));
    if (!std::isfinite(scales[k]))
      return Error{ErrorCode::kNotFinite, "scale " + std::to_string(k) + " is not finite",
                   ErrorDetail::kScaleNotFinite};
    if (std::signbit(scales[k]))
      return Error{ErrorCode::kMalformed, "scale " + std::to_string(k) + " is negative",
                   ErrorDetail::kScaleNegative};
  }
  FL_TRY(const ByteSpan right, reader.ReadSpan(PackedBytes(rank * columns_, config_.factor_bits)));
  FL_TRY(parsed.right, ReadLevels(right, rank * columns_, config_.factor_bits));
  for (std::size_t i = 0; i < parsed.right.size(); ++i) {
    const float scale = scales[i / columns_];
    if (scale == 0 && parsed.right[i] != 0) {
      return Error{ErrorCode::kMalformed,
                   "row " + std::to_string(i / columns_) + ": levels without a scale",
                   ErrorDetail::kScaleUseless};
    }
    parsed.right[i] *= scale;
  }
  return reader.ExpectEnd();
}

Result<> LowRank::ParseCoded(ByteSpan payload, Parsed& parsed) const {
  const std::size_t rank = parsed.rank;
  internal::FactorLevels levels(rows_, columns_, rank);
  FL_TRY_OK(internal::DecodeFactors(payload, levels));
  if (chosen() && levels.scales.back() == 0)
    return Error{ErrorCode::kMalformed, "the last of the rank's directions is absent",
                 ErrorDetail::kScaleUseless};
  parsed.left.resize(rows_ * rank);
  parsed.right.resize(rank * columns_);
  for (std::size_t k = 0; k < rank; ++k) {
    const float scale = internal::FactorScale(levels.scales[k]);
    for (std::size_t i = 0; i < rows_; ++i)
      parsed.left[i * rank + k] = static_cast<float>(levels.left[k * rows_ + i]);
    for (std::size_t j = 0; j < columns_; ++j) {
      parsed.right[k * columns_ + j] = scale * static_cast<float>(levels.right[k * columns_ + j]);
    }
  }
  return {};
}

Result<> LowRank::ParseNumbers(ByteSpan payload, const PayloadLimits& limits,
                               Parsed& parsed) const {
  const std::size_t rank = parsed.rank;
  ByteReader reader(payload);
  parsed.left.resize(rows_ * rank);
  parsed.right.resize(rank * columns_);
  FL_TRY_OK(ReadNumbers(*config_.factors, limits, reader, parsed.left));
  for (std::size_t k = 0; k < rank; ++k) {
    FL_TRY_OK(ReadNumbers(*config_.factors, limits, reader,
                          std::span(parsed.right).subspan(k * columns_, columns_)));
  }
  return reader.ExpectEnd();
}

Result<std::size_t> LowRank::ReadRank(ByteReader& reader) const {
  std::size_t rank = rank_;
  if (chosen()) {
    FL_TRY(rank, reader.Read<std::uint8_t>());
    if (rank > rank_) {
      return Error{
          ErrorCode::kMalformed,
          "rank: expected at most " + std::to_string(rank_) + ", found " + std::to_string(rank),
          ErrorDetail::kRankCount};
    }
  }
  const std::size_t expected = FactorBytes(rank);
  const std::size_t found = reader.remaining();
  const std::size_t most = std::min(expected, EncodedBytesMax() - reader.position());
  if (found > most || (config_.step == 0 && found < expected)) {
    return Error{ErrorCode::kMalformed,
                 std::string("expected ") + (config_.step > 0 ? "at most " : "") +
                     std::to_string(most) + " bytes of factors, found " + std::to_string(found),
                 ErrorDetail::kPayloadBytes};
  }
  return rank;
}

Result<std::unique_ptr<ParsedPayload>> LowRank::Parse(ByteSpan payload,
                                                      const RoundParameters& /*parameters*/,
                                                      const PayloadLimits& limits) const {
  auto parsed = std::make_unique<Parsed>();
  ByteReader reader(payload);
  FL_TRY(parsed->rank, ReadRank(reader));
  if (parsed->rank == 0) return std::unique_ptr<ParsedPayload>(std::move(parsed));
  const ByteSpan factors = payload.subspan(reader.position());
  if (config_.step > 0) {
    FL_TRY_OK(ParseCoded(factors, *parsed));
  } else if (config_.factor_bits > 0) {
    FL_TRY_OK(ParseLevels(factors, *parsed));
  } else {
    FL_TRY_OK(ParseNumbers(factors, limits, *parsed));
  }
  const double largest = static_cast<double>(LargestMagnitude(parsed->left)) *
                         static_cast<double>(LargestMagnitude(parsed->right)) *
                         static_cast<double>(parsed->rank);
  if (!(largest <= static_cast<double>(limits.magnitude_max))) {
    return Error{ErrorCode::kLimitExceeded,
                 "factors: expected products of at most " + std::to_string(limits.magnitude_max) +
                     ", found up to " + std::to_string(largest),
                 ErrorDetail::kValueTooLarge};
  }
  return std::unique_ptr<ParsedPayload>(std::move(parsed));
}

void LowRank::DecodeAdd(const ParsedPayload& payload, std::size_t first, float scale,
                        std::span<float> out) const {
  FL_CHECK(first + out.size() <= count(), "a block of coordinates lies inside its segment");
  const auto& parsed = static_cast<const Parsed&>(payload);
  if (parsed.rank == 0) return;
  std::size_t row = first / columns_;
  std::size_t column = first % columns_;
  for (std::size_t at = 0; at < out.size();) {
    const auto piece = out.subspan(at, std::min(columns_ - column, out.size() - at));
    kernels::AddFactorRow(std::span(parsed.left).subspan(row * parsed.rank, parsed.rank),
                          std::span(parsed.right).subspan(column), columns_, scale, piece);
    at += piece.size();
    column = 0;
    ++row;
  }
}

}  // namespace fl
