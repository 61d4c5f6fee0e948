#include "fl/compression/codecs/tucker.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "fl/common/base/check.h"
#include "fl/common/base/error_detail.h"
#include "fl/compression/codecs/factorize.h"
#include "fl/compression/codecs/level_codec.h"
#include "fl/compression/codecs/low_rank.h"
#include "fl/compression/codecs/quantize.h"
#include "fl/compression/kernels/add_values.h"
#include "fl/compression/kernels/grid_codes.h"

namespace fl {
namespace {

constexpr unsigned kIterations = 4;  // Kernels are small.

// Three axes, row-major: out[j, i, k] = values[i, j, k].
std::vector<float> SwapFirst(std::span<const float> values, std::size_t first, std::size_t second) {
  const std::size_t third = values.size() / (first * second);
  std::vector<float> out(values.size());
  for (std::size_t i = 0; i < first; ++i) {
    for (std::size_t j = 0; j < second; ++j) {
      std::ranges::copy(values.subspan((i * second + j) * third, third),
                        out.begin() + static_cast<std::ptrdiff_t>((j * first + i) * third));
    }
  }
  return out;
}

// A matrix, row-major: out[j, i] = values[i, j].
std::vector<float> Transpose(std::span<const float> values, std::size_t rows) {
  return SwapFirst(values, rows, values.size() / rows);
}

// Writes `values` and gives back what a decoder reads.
std::vector<float> Write(const ValueCoder& coder, std::span<const float> values, RngStream& rng,
                         ByteWriter& out) {
  const std::size_t start = out.size();
  coder.Encode(values, rng, out);
  std::vector<float> seen(values.size());
  coder.DecodeAdd(ByteSpan(out.bytes()).subspan(start), seen.size(), 0, 1.0F, seen);
  return seen;
}

// Writes the leading directions of the matrix's rows, and gives back the fit of what is combined by
// them: rank rows of the matrix's columns.
std::vector<float> WriteDirections(const internal::MatrixView& matrix, std::size_t rank,
                                   const ValueCoder& coder, const RngStream& draws, RngStream& rng,
                                   ByteWriter& out) {
  const std::vector<float> left = internal::LeadingLeftVectors(matrix, rank, kIterations, draws);
  const std::vector<float> seen = Write(coder, Transpose(left, rank), rng, out);
  return internal::FitRight(matrix, Transpose(seen, matrix.rows), rank);
}

Result<std::vector<float>> Read(const ValueCoder& coder, const PayloadLimits& limits,
                                std::size_t count, ByteReader& reader) {
  FL_TRY(const ByteSpan bytes, reader.ReadSpan(coder.EncodedBytes(count)));
  FL_TRY_OK(coder.Check(bytes, count, limits));
  std::vector<float> values(count);
  coder.DecodeAdd(bytes, count, 0, 1.0F, values);
  return values;
}

}  // namespace

struct Tucker::Parsed final : ParsedPayload {
  std::vector<float> in;    // in x rank_in.
  std::vector<float> out;   // rank_out x out.
  std::vector<float> core;  // places x rank_in x rank_out.
};

Tucker::Tucker(TuckerConfig config, const Shape& shape) : config_(std::move(config)) {
  FL_CHECK(shape.rank() == 4, "a convolution's kernel has four axes");
  places_ = shape[0] * shape[1];
  in_ = shape[2];
  out_ = shape[3];
  rank_in_ = std::min({std::size_t{config_.rank_in}, in_, places_ * out_});
  rank_out_ = std::min({std::size_t{config_.rank_out}, out_, places_ * rank_in_});
}

std::size_t Tucker::factor_values() const {
  return in_ * rank_in_ + out_ * rank_out_ + places_ * rank_in_ * rank_out_;
}

std::size_t Tucker::EncodedBytesMax() const {
  return config_.factors->EncodedBytes(in_ * rank_in_) +
         config_.factors->EncodedBytes(out_ * rank_out_) +
         config_.factors->EncodedBytes(places_ * rank_in_ * rank_out_);
}

void Tucker::Encode(std::span<const float> values, std::span<float> decoded,
                    const RoundParameters& parameters, RngStream rng, ByteWriter& out) const {
  const bool wanted = WantsDecoded(values, decoded);
  const std::size_t start = out.size();
  const std::vector<float> by_in = SwapFirst(values, places_, in_);  // in x places x out.
  const std::vector<float> mixed =
      WriteDirections({by_in, in_, places_ * out_}, rank_in_, *config_.factors,
                      rng.Child("tucker", 0), rng, out);  // rank_in x places x out.
  const std::vector<float> by_out = Transpose(mixed, rank_in_ * places_);
  const std::vector<float> core =
      WriteDirections({by_out, out_, rank_in_ * places_}, rank_out_, *config_.factors,
                      rng.Child("tucker", 1), rng, out);  // rank_out x rank_in x places.
  // The core has the places first: rank_out x (rank_in x places), turned twice.
  const std::vector<float> turned = Transpose(core, rank_out_);
  Write(*config_.factors, SwapFirst(turned, rank_in_, places_), rng, out);
  if (!wanted) return;
  std::ranges::fill(decoded, 0.0F);
  const auto parsed =
      Parse(ByteSpan(out.bytes()).subspan(start), parameters, {.magnitude_max = INFINITY});
  FL_CHECK(parsed.has_value(), "what Encode writes is what Parse accepts");
  DecodeAdd(**parsed, 0, 1.0F, decoded);
}

Result<std::unique_ptr<ParsedPayload>> Tucker::Parse(ByteSpan payload,
                                                     const RoundParameters& /*parameters*/,
                                                     const PayloadLimits& limits) const {
  if (payload.size() != EncodedBytesMax()) {
    return Error{ErrorCode::kMalformed,
                 "expected " + std::to_string(EncodedBytesMax()) + " bytes of factors, found " +
                     std::to_string(payload.size()),
                 ErrorDetail::kPayloadBytes};
  }
  auto parsed = std::make_unique<Parsed>();
  ByteReader reader(payload);
  FL_TRY(parsed->in, Read(*config_.factors, limits, in_ * rank_in_, reader));
  FL_TRY(const std::vector<float> out, Read(*config_.factors, limits, out_ * rank_out_, reader));
  parsed->out = Transpose(out, out_);
  FL_TRY(parsed->core, Read(*config_.factors, limits, places_ * rank_in_ * rank_out_, reader));
  const auto largest = [](std::span<const float> values) {
    return static_cast<double>(kernels::LargestMagnitude(values));
  };
  // Half way, and in the end.
  const double mixed = largest(parsed->in) * largest(parsed->core) * static_cast<double>(rank_in_);
  const double most =
      std::max(mixed, mixed * largest(parsed->out) * static_cast<double>(rank_out_));
  if (!(most <= static_cast<double>(limits.magnitude_max))) {
    return Error{ErrorCode::kLimitExceeded,
                 "factors: expected products of at most " + std::to_string(limits.magnitude_max) +
                     ", found up to " + std::to_string(most),
                 ErrorDetail::kValueTooLarge};
  }
  return std::unique_ptr<ParsedPayload>(std::move(parsed));
}

void Tucker::DecodeAdd(const ParsedPayload& payload, std::size_t first, float scale,
                       std::span<float> out) const {
  FL_CHECK(first + out.size() <= count(), "a block of coordinates lies inside its segment");
  const auto& parsed = static_cast<const Parsed&>(payload);
  std::vector<float> mixed(rank_out_);
  std::size_t row = first / out_;  // Of places x in.
  std::size_t column = first % out_;
  for (std::size_t at = 0; at < out.size(); ++row) {
    const auto piece = out.subspan(at, std::min(out_ - column, out.size() - at));
    const auto core =
        std::span(parsed.core).subspan(row / in_ * rank_in_ * rank_out_, rank_in_ * rank_out_);
    std::ranges::fill(mixed, 0.0F);
    kernels::AddFactorRow(std::span(parsed.in).subspan(row % in_ * rank_in_, rank_in_), core,
                          rank_out_, 1.0F, mixed);
    kernels::AddFactorRow(mixed, std::span(parsed.out).subspan(column), out_, scale, piece);
    at += piece.size();
    column = 0;
  }
}

Result<std::unique_ptr<Codec>> BuildTucker(const Chain& chain, const Shape& shape) {
  const Stage& stage = *chain.shape;
  FL_TRY_OK(StageOptions::Read(stage, std::span<const std::string_view>()));
  TuckerConfig config;
  const auto rank = [&](std::size_t index) -> Result<unsigned> {
    const auto found =
        stage.arguments.size() == 2 ? ParseNumber<unsigned>(stage.arguments[index]) : std::nullopt;
    if (found && *found >= 1 && *found <= kLowRankMax) return *found;
    return RefuseStage(stage,
                       "expected two ranks of 1 to 64, of the input and the output channels, such "
                       "as tucker 16 16");
  };
  FL_TRY(config.rank_in, rank(0));
  FL_TRY(config.rank_out, rank(1));
  if (shape.rank() != 4) {
    return RefuseStage(stage,
                       "needs a convolution's kernel, which has four axes, found a tensor with " +
                           std::to_string(shape.rank()) +
                           "; give kernels a rule of their own, and matrices low_rank");
  }
  const Stage* values = chain.values;
  const bool levels = values != nullptr && (values->name == "dead_zone" ||
                                            values->name == "ternary" || HasLevels(chain));
  if (levels || (chain.entropy != nullptr && chain.entropy->name != "pack")) {
    return RefuseStage(stage,
                       "cannot send levels: its factors are numbers, such as tucker 16 16 | "
                       "quantize 4 or | fp16; low_rank 6 | quantize step=2 | context sends levels");
  }
  if (values != nullptr && values->name == "quantize") {
    FL_TRY(const QuantizeStage grid, ReadQuantize(*values));
    if (grid.shared || grid.per_channel) {
      return RefuseStage(*values,
                         "after tucker: each factor has one grid of its own; leave scale= and "
                         "per=channel out");
    }
  }
  FL_TRY(config.factors, BuildValueCoder(values, shape, false));
  auto codec = std::make_unique<Tucker>(std::move(config), shape);
  if (codec->factor_values() >= codec->count()) {
    return RefuseStage(stage, "its factors have " + std::to_string(codec->factor_values()) +
                                  " values, the kernel itself " + std::to_string(codec->count()) +
                                  "; expected smaller ranks, or another recipe for small kernels");
  }
  return std::unique_ptr<Codec>(std::move(codec));
}

}  // namespace fl
