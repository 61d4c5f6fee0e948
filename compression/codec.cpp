#include "fl/compression/codec.h"

#include "fl/common/base/check.h"

namespace fl {

std::optional<double> CodecTraits::contraction() const {
  if (!relative_error || *relative_error >= 1) return std::nullopt;
  return 1 - *relative_error;
}

Bytes Codec::NextParameters(ByteSpan part, const RoundFeedback& /*feedback*/) const {
  return Bytes(part.begin(), part.end());
}

Result<> Codec::CheckParameters(const RoundParameters& /*parameters*/) const {
  return {};
}

std::unique_ptr<PieceEncoder> Codec::EncodePieces(const RoundParameters& /*parameters*/) const {
  return nullptr;
}

void Codec::DecodeAddIntegers(const ParsedPayload& /*payload*/, std::size_t /*first*/,
                              std::span<std::int64_t> /*out*/) const {
  CheckFailed("DecodeAddIntegers", "only a linear codec decodes to integers");
}

void Codec::Finish(std::span<const std::int64_t> /*sum*/, std::size_t /*summands*/,
                   const RoundParameters& /*parameters*/, std::size_t /*first*/,
                   std::span<float> /*out*/) const {
  CheckFailed("Finish", "only a linear codec sums integers");
}

bool Codec::WantsDecoded(std::span<const float> values, std::span<float> decoded) const {
  FL_CHECK(values.size() == count() && (decoded.empty() || decoded.size() == count()),
           "a codec is made for one number of values");
  return !decoded.empty();
}

void Codec::Estimate(std::span<const float> /*sum*/, std::size_t /*first*/,
                     std::span<float> /*out*/) const {
  CheckFailed("Estimate", "only a codec with a sum of its own estimates values from it");
}

}  // namespace fl
