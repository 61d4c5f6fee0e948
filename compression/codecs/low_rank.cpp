#include "fl/compression/codecs/low_rank.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <optional>
#include <string>

#include "fl/common/base/check.h"
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
      return Error{ErrorCode::kMalformed, "level " + std::to_string(i) + ": code " +
                                              std::to_string(codes[i]) + " is unused"};
    }
    levels[i] = static_cast<float>(codes[i] - LevelMax(bits));
  }
  if (!PaddingIsZero(packed, count, bits))
    return Error{ErrorCode::kMalformed, "expected zero bits after the last level"};
  return levels;
}

// rows of `count` become rows of `rank`: factors are computed one direction after the other, and
// sent row by row.
template <typename T>
std::vector<T> Transpose(std::span<const T> values, std::size_t rank) {
  FL_CHECK(rank > 0, "a factor has at least one direction");
  const std::size_t count = values.size() / rank;
  std::vector<T> out(values.size());
  for (std::size_t k = 0; k < rank; ++k) {
    for (std::size_t i = 0; i < count; ++i) out[i * rank + k] = values[k * count + i];
  }
  return out;
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
  PackCodes(Transpose<std::uint8_t>(codes, rank), bits, out);
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
  std::vector<float> left;   // rows x rank.
  std::vector<float> right;  // rank x columns.
};

LowRank::LowRank(LowRankConfig config, const Shape& shape) : config_(std::move(config)) {
  FL_CHECK(shape.rank() >= 2, "a matrix has two axes");
  columns_ = shape[shape.rank() - 1];
  rows_ = shape.count() / columns_;
  rank_ = std::min({std::size_t{config_.rank}, rows_, columns_});
}

std::size_t LowRank::EncodedBytesMax() const {
  if (config_.step > 0) return internal::FactorBytesMax(rows_, columns_, rank_);
  if (config_.factor_bits == 0)
    return config_.factors->EncodedBytes(rows_ * rank_) +
           rank_ * config_.factors->EncodedBytes(columns_);
  return PackedBytes(rows_ * rank_, config_.factor_bits) + rank_ * 2 +
         PackedBytes(rank_ * columns_, config_.factor_bits);
}

void LowRank::Encode(std::span<const float> values, std::span<float> decoded,
                     const RoundParameters& parameters, RngStream rng, ByteWriter& out) const {
  FL_CHECK(values.size() == count() && decoded.size() == count(),
           "a codec is made for one number of values");
  const std::size_t start = out.size();
  const internal::MatrixView matrix{values, rows_, columns_};
  const std::vector<float> left =
      internal::LeadingLeftVectors(matrix, rank_, config_.iterations, rng.Child("low_rank"));
  if (config_.step > 0) {
    internal::FactorLevels levels = internal::RoundFactors(matrix, left, config_.step);
    internal::EncodeFactors(levels, out);
  } else if (config_.factor_bits > 0) {
    WriteLevels(matrix, left, rank_, config_.factor_bits, out);
  } else {
    const std::vector<float> sent = Transpose<float>(left, rank_);
    config_.factors->Encode(sent, rng, out);
    std::vector<float> seen(sent.size());
    config_.factors->DecodeAdd(ByteSpan(out.bytes()).subspan(start), seen.size(), 0, 1.0F, seen);
    const std::vector<float> directions = Transpose<float>(seen, rows_);
    const std::vector<float> right = internal::FitRight(matrix, directions, rank_);
    for (std::size_t k = 0; k < rank_; ++k)
      config_.factors->Encode(std::span(right).subspan(k * columns_, columns_), rng, out);
  }
  std::ranges::fill(decoded, 0.0F);
  const auto parsed =
      Parse(ByteSpan(out.bytes()).subspan(start), parameters, {.magnitude_max = INFINITY});
  FL_CHECK(parsed.has_value(), "what Encode writes is what Parse accepts");
  DecodeAdd(**parsed, 0, 1.0F, decoded);
}

Result<> LowRank::ParseLevels(ByteSpan payload, Parsed& parsed) const {
  ByteReader reader(payload);
  FL_TRY(const ByteSpan left, reader.ReadSpan(PackedBytes(rows_ * rank_, config_.factor_bits)));
  FL_TRY(parsed.left, ReadLevels(left, rows_ * rank_, config_.factor_bits));
  std::vector<float> scales;
  for (std::size_t k = 0; k < rank_; ++k) {
    FL_TRY(const std::uint16_t scale, reader.Read<std::uint16_t>());
    scales.push_back(Bfloat16ToFloat(scale));
    if (!std::isfinite(scales[k]))
      return Error{ErrorCode::kNotFinite, "scale " + std::to_string(k) + " is not finite"};
    if (std::signbit(scales[k]))
      return Error{ErrorCode::kMalformed, "scale " + std::to_string(k) + " is negative"};
  }
  FL_TRY(const ByteSpan right, reader.ReadSpan(PackedBytes(rank_ * columns_, config_.factor_bits)));
  FL_TRY(parsed.right, ReadLevels(right, rank_ * columns_, config_.factor_bits));
  for (std::size_t i = 0; i < parsed.right.size(); ++i) {
    const float scale = scales[i / columns_];
    if (scale == 0 && parsed.right[i] != 0) {
      return Error{ErrorCode::kMalformed,
                   "row " + std::to_string(i / columns_) + ": levels without a scale"};
    }
    parsed.right[i] *= scale;
  }
  return reader.ExpectEnd();
}

Result<> LowRank::ParseCoded(ByteSpan payload, Parsed& parsed) const {
  internal::FactorLevels levels(rows_, columns_, rank_);
  FL_TRY_OK(internal::DecodeFactors(payload, levels));
  parsed.left.resize(rows_ * rank_);
  parsed.right.resize(rank_ * columns_);
  for (std::size_t k = 0; k < rank_; ++k) {
    const float scale = internal::FactorScale(levels.scales[k]);
    for (std::size_t i = 0; i < rows_; ++i)
      parsed.left[i * rank_ + k] = static_cast<float>(levels.left[k * rows_ + i]);
    for (std::size_t j = 0; j < columns_; ++j) {
      parsed.right[k * columns_ + j] = scale * static_cast<float>(levels.right[k * columns_ + j]);
    }
  }
  return {};
}

Result<> LowRank::ParseNumbers(ByteSpan payload, const PayloadLimits& limits,
                               Parsed& parsed) const {
  ByteReader reader(payload);
  parsed.left.resize(rows_ * rank_);
  parsed.right.resize(rank_ * columns_);
  FL_TRY_OK(ReadNumbers(*config_.factors, limits, reader, parsed.left));
  for (std::size_t k = 0; k < rank_; ++k) {
    FL_TRY_OK(ReadNumbers(*config_.factors, limits, reader,
                          std::span(parsed.right).subspan(k * columns_, columns_)));
  }
  return reader.ExpectEnd();
}

Result<std::unique_ptr<ParsedPayload>> LowRank::Parse(ByteSpan payload,
                                                      const RoundParameters& /*parameters*/,
                                                      const PayloadLimits& limits) const {
  const std::size_t bytes_max = EncodedBytesMax();
  if (payload.size() > bytes_max || (config_.step == 0 && payload.size() < bytes_max)) {
    return Error{ErrorCode::kMalformed,
                 std::string("expected ") + (config_.step > 0 ? "at most " : "") +
                     std::to_string(bytes_max) + " bytes, found " + std::to_string(payload.size())};
  }
  auto parsed = std::make_unique<Parsed>();
  if (config_.step > 0) {
    FL_TRY_OK(ParseCoded(payload, *parsed));
  } else if (config_.factor_bits > 0) {
    FL_TRY_OK(ParseLevels(payload, *parsed));
  } else {
    FL_TRY_OK(ParseNumbers(payload, limits, *parsed));
  }
  const double largest = static_cast<double>(LargestMagnitude(parsed->left)) *
                         static_cast<double>(LargestMagnitude(parsed->right)) *
                         static_cast<double>(rank_);
  if (!(largest <= static_cast<double>(limits.magnitude_max))) {
    return Error{ErrorCode::kLimitExceeded, "factors: expected products of at most " +
                                                std::to_string(limits.magnitude_max) +
                                                ", found up to " + std::to_string(largest)};
  }
  return std::unique_ptr<ParsedPayload>(std::move(parsed));
}

void LowRank::DecodeAdd(const ParsedPayload& payload, std::size_t first, float scale,
                        std::span<float> out) const {
  FL_CHECK(first + out.size() <= count(), "a block of coordinates lies inside its segment");
  const auto& parsed = static_cast<const Parsed&>(payload);
  std::size_t row = first / columns_;
  std::size_t column = first % columns_;
  for (std::size_t at = 0; at < out.size();) {
    const auto piece = out.subspan(at, std::min(columns_ - column, out.size() - at));
    kernels::AddFactorRow(std::span(parsed.left).subspan(row * rank_, rank_),
                          std::span(parsed.right).subspan(column), columns_, scale, piece);
    at += piece.size();
    column = 0;
    ++row;
  }
}

namespace {

Result<LowRankConfig> ReadLowRank(const Stage& stage) {
  LowRankConfig config;
  constexpr std::array<std::string_view, 2> kKnown = {"iterations", "basis"};
  FL_TRY(const StageOptions options, StageOptions::Read(stage, kKnown));
  const auto rank =
      stage.arguments.size() == 1 ? ParseNumber<unsigned>(stage.arguments.front()) : std::nullopt;
  if (!rank || *rank < 1 || *rank > kLowRankMax)
    return RefuseStage(stage, "expected a rank of 1 to 64, such as low_rank 2");
  config.rank = *rank;
  if (const std::string* text = options.Find("iterations")) {
    const auto iterations = ParseNumber<unsigned>(*text);
    if (!iterations || *iterations < 1 || *iterations > 8) {
      return RefuseStage(stage, "iterations: expected 1 to 8, found \"" + *text + "\"");
    }
    config.iterations = *iterations;
  }
  if (const std::string* basis = options.Find("basis"); basis != nullptr && *basis != "own") {
    return RefuseStage(stage, "basis: this version has own, found \"" + *basis + "\"");
  }
  return config;
}

Result<float> ReadStep(const Stage& stage) {
  constexpr std::array<std::string_view, 1> kKnown = {"step"};
  FL_TRY(const StageOptions options, StageOptions::Read(stage, kKnown));
  const auto step = ParseNumber<float>(*options.Find("step"));
  if (!stage.arguments.empty() || !step || !(*step >= 0.1F && *step <= 8.0F)) {
    return RefuseStage(stage,
                       "after low_rank: expected quantize step=0.1 to step=8, in units of a "
                       "factor's root mean square, and nothing else");
  }
  return *step;
}

// What writes the factors.
Result<> ReadFactors(const Chain& chain, const Shape& shape, LowRankConfig& config) {
  const Stage* values = chain.values;
  const bool quantize = values != nullptr && values->name == "quantize";
  const bool coded =
      quantize && !values->options.empty() && values->options.front().first == "step";
  if (chain.entropy != nullptr && (chain.entropy->name == "pack") == coded) {
    return RefuseStage(*chain.entropy,
                       "after low_rank the levels of quantize step=X are coded by context, all "
                       "other factors are packed: use low_rank 6 | quantize step=2");
  }
  if (coded) {
    FL_TRY(config.step, ReadStep(*values));
    return {};
  }
  if (quantize) {
    FL_TRY(const QuantizeStage grid, ReadQuantize(*values));
    if (grid.shared) {
      return RefuseStage(*values,
                         "scale=shared after low_rank: each client has factors of its own, so they "
                         "cannot be summed");
    }
    if (grid.per_channel) {
      return RefuseStage(*values, "per=channel after low_rank: each direction has a grid already");
    }
    if (values->arguments.size() == 1 && grid.group == 0 && grid.config.bits > 1) {
      config.factor_bits = grid.config.bits;
      return {};
    }
  }
  if (values != nullptr && (values->name == "dead_zone" || values->name == "ternary")) {
    return RefuseStage(*values,
                       "cannot write factors: use quantize step=2, whose levels are as few");
  }
  // A factor's rows are whole, unlike a list of kept values.
  FL_TRY(config.factors, BuildValueCoder(values, shape, false));
  return {};
}

}  // namespace

Result<std::unique_ptr<Codec>> BuildLowRank(const Chain& chain, const Shape& shape) {
  FL_TRY(LowRankConfig config, ReadLowRank(*chain.shape));
  if (shape.rank() < 2) {
    return RefuseStage(*chain.shape,
                       "needs a matrix or a convolution's kernel, found a vector of " +
                           std::to_string(shape.count()) +
                           " values; give vectors a rule of their own");
  }
  FL_TRY_OK(ReadFactors(chain, shape, config));
  return std::unique_ptr<Codec>(std::make_unique<LowRank>(std::move(config), shape));
}

}  // namespace fl
