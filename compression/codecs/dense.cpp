#include "fl/compression/codecs/dense.h"

#include <algorithm>
#include <string>

#include "fl/common/base/check.h"
#include "fl/common/base/error_detail.h"
#include "fl/compression/codecs/quantize.h"
#include "fl/compression/codecs/shared_quantize.h"

namespace fl {
namespace {

struct ParsedDense final : ParsedPayload {
  explicit ParsedDense(ByteSpan bytes) : payload(bytes) {}
  ByteSpan payload;
};

}  // namespace

std::unique_ptr<PieceEncoder> DenseCodec::EncodePieces(
    const RoundParameters& /*parameters*/) const {
  return values_->EncodePieces();
}

void DenseCodec::Encode(std::span<const float> values, std::span<float> decoded,
                        const RoundParameters& /*parameters*/, RngStream rng,
                        ByteWriter& out) const {
  const bool wanted = WantsDecoded(values, decoded);
  const std::size_t start = out.size();
  out.bytes().reserve(start + values_->EncodedBytes(count_));
  const auto pieces = values_->EncodePieces();
  if (pieces != nullptr) {
    pieces->Measure(values);
    pieces->Begin(out);
  } else {
    values_->Encode(values, rng, out);
    if (!wanted) return;
  }
  constexpr std::size_t kPiece = 4096;  // Its values and its bytes stay in the first cache.
  for (std::size_t at = 0; at < count_; at += kPiece) {
    const std::size_t size = std::min(kPiece, count_ - at);
    const auto seen = wanted ? decoded.subspan(at, size) : decoded;
    if (pieces != nullptr) {
      pieces->Write(values.subspan(at, size), seen, rng, out);
    } else {
      std::ranges::fill(seen, 0.0F);
      values_->DecodeAdd(ByteSpan(out.bytes()).subspan(start), count_, at, 1.0F, seen);
    }
  }
}

Result<std::unique_ptr<ParsedPayload>> DenseCodec::Parse(ByteSpan payload,
                                                         const RoundParameters& /*parameters*/,
                                                         const PayloadLimits& limits) const {
  const std::size_t expected = values_->EncodedBytes(count_);
  if (payload.size() != expected) {
    return Error{
        ErrorCode::kMalformed,
        "expected " + std::to_string(expected) + " bytes, found " + std::to_string(payload.size()),
        ErrorDetail::kPayloadBytes};
  }
  FL_TRY_OK(values_->Check(payload, count_, limits));
  return std::unique_ptr<ParsedPayload>(std::make_unique<ParsedDense>(payload));
}

void DenseCodec::DecodeAdd(const ParsedPayload& payload, std::size_t first, float scale,
                           std::span<float> out) const {
  FL_CHECK(first + out.size() <= count_, "a block of coordinates lies inside its segment");
  values_->DecodeAdd(static_cast<const ParsedDense&>(payload).payload, count_, first, scale, out);
}

Result<std::unique_ptr<Codec>> BuildDense(const Chain& chain, const Shape& shape,
                                          std::size_t parameters_offset) {
  if (chain.values->name == "quantize") {
    FL_TRY(const QuantizeStage quantize, ReadQuantize(*chain.values));
    if (quantize.shared) {
      return std::unique_ptr<Codec>(std::make_unique<SharedQuantize>(
          SharedQuantizeConfig{quantize.config.bits, quantize.config.stochastic, quantize.range,
                               parameters_offset},
          shape.count()));
    }
  }
  FL_TRY(std::unique_ptr<ValueCoder> values, BuildValueCoder(chain.values, shape, false));
  return std::unique_ptr<Codec>(std::make_unique<DenseCodec>(std::move(values), shape.count()));
}

}  // namespace fl
