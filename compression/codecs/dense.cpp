#include "fl/compression/codecs/dense.h"

#include <algorithm>
#include <string>

#include "fl/common/base/check.h"
#include "fl/compression/codecs/quantize.h"
#include "fl/compression/codecs/shared_quantize.h"

namespace fl {
namespace {

struct ParsedDense final : ParsedPayload {
  explicit ParsedDense(ByteSpan bytes) : payload(bytes) {}
  ByteSpan payload;
};

}  // namespace

void DenseCodec::Encode(std::span<const float> values, std::span<float> decoded,
                        const RoundParameters& /*parameters*/, RngStream rng,
                        ByteWriter& out) const {
  const bool wanted = WantsDecoded(values, decoded);
  const std::size_t start = out.size();
  const bool piecewise = values_->piecewise();
  if (piecewise) out.bytes().reserve(start + values_->EncodedBytes(count_));
  if (!piecewise) values_->Encode(values, rng, out);
  constexpr std::size_t kBlock = 16384;  // What was just filled is still in a cache.
  if (!wanted) {
    if (piecewise) values_->Encode(values, rng, out);
    return;
  }
  for (std::size_t at = 0; at < count_; at += kBlock) {
    const std::size_t size = std::min(kBlock, count_ - at);
    if (piecewise) values_->Encode(values.subspan(at, size), rng, out);
    const auto block = decoded.subspan(at, size);
    std::ranges::fill(block, 0.0F);
    values_->DecodeAdd(ByteSpan(out.bytes()).subspan(start), count_, at, 1.0F, block);
  }
}

Result<std::unique_ptr<ParsedPayload>> DenseCodec::Parse(ByteSpan payload,
                                                         const RoundParameters& /*parameters*/,
                                                         const PayloadLimits& limits) const {
  const std::size_t expected = values_->EncodedBytes(count_);
  if (payload.size() != expected) {
    return Error{ErrorCode::kMalformed, "expected " + std::to_string(expected) + " bytes, found " +
                                            std::to_string(payload.size())};
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
