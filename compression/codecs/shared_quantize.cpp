#include "fl/compression/codecs/shared_quantize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string>

#include "fl/common/base/check.h"
#include "fl/common/base/error_detail.h"
#include "fl/compression/codecs/quantize.h"
#include "fl/compression/entropy/pack.h"
#include "fl/compression/kernels/add_values.h"

namespace fl {
namespace {

constexpr std::size_t kChunk = 512;

struct ParsedShared final : ParsedPayload {
  ByteSpan packed;
  float step = 0;
};

class SharedPieces final : public PieceEncoder {
 public:
  explicit SharedPieces(const internal::GridCoder& coder) : coder_(coder) {}

  bool measures() const override { return false; }
  void Measure(std::span<const float> /*piece*/) override {}
  void Begin(ByteWriter& /*out*/) override {}
  void Write(std::span<const float> piece, std::span<float> decoded, RngStream& rng,
             ByteWriter& out) override {
    coder_.Write(piece, decoded, rng, out);
  }

 private:
  internal::GridCoder coder_;
};

// Calls use(at, codes) for chunks of the codes [first, first + count).
template <typename Use>
void ForCodes(ByteSpan packed, unsigned bits, std::size_t first, std::size_t count, Use use) {
  std::array<std::uint8_t, kChunk> codes;
  for (std::size_t at = 0; at < count; at += kChunk) {
    const auto chunk = std::span(codes).first(std::min(kChunk, count - at));
    UnpackCodes(packed, bits, first + at, chunk);
    use(at, std::span<const std::uint8_t>(chunk));
  }
}

}  // namespace

CodecTraits SharedQuantize::traits() const {
  return {.deterministic = !config_.stochastic, .linear = true, .needs_round_parameters = true};
}

std::size_t SharedQuantize::EncodedBytesMax() const {
  return PackedBytes(count_, config_.bits);
}

Bytes SharedQuantize::InitialParameters() const {
  ByteWriter out;
  out.Write(config_.range);
  return std::move(out).Take();
}

Result<float> SharedQuantize::ReadStep(const RoundParameters& parameters) const {
  float range = 0;
  if (parameters.bytes.size() < config_.parameters_offset + sizeof(range)) {
    return Error{ErrorCode::kInvalidArgument,
                 "round parameters: expected at least " +
                     std::to_string(config_.parameters_offset + sizeof(range)) + " bytes, found " +
                     std::to_string(parameters.bytes.size())};
  }
  std::memcpy(&range, parameters.bytes.data() + config_.parameters_offset, sizeof(range));
  const float step = range / static_cast<float>(level_max());
  if (std::isfinite(step) && step > 0) return step;
  return Error{ErrorCode::kInvalidArgument,
               "round parameters: expected a finite range above 0, found " + std::to_string(range)};
}

Result<> SharedQuantize::CheckParameters(const RoundParameters& parameters) const {
  FL_TRY_OK(ReadStep(parameters));
  return {};
}

std::unique_ptr<PieceEncoder> SharedQuantize::EncodePieces(
    const RoundParameters& parameters) const {
  const auto step = ReadStep(parameters);
  FL_CHECK(step.has_value(), "the round's parameters were checked when they came");
  return std::make_unique<SharedPieces>(
      internal::GridCoder{.grid = {.step = *step, .low = 0, .zero = level_max()},
                          .bits = config_.bits,
                          .code_max = 2 * static_cast<unsigned>(level_max()),
                          .stochastic = config_.stochastic});
}

void SharedQuantize::Encode(std::span<const float> values, std::span<float> decoded,
                            const RoundParameters& parameters, RngStream rng,
                            ByteWriter& out) const {
  static_cast<void>(WantsDecoded(values, decoded));  // Their sizes are right.
  out.bytes().reserve(out.size() + EncodedBytesMax());
  EncodePieces(parameters)->Write(values, decoded, rng, out);
}

Result<std::unique_ptr<ParsedPayload>> SharedQuantize::Parse(ByteSpan payload,
                                                             const RoundParameters& parameters,
                                                             const PayloadLimits& limits) const {
  auto parsed = std::make_unique<ParsedShared>();
  FL_TRY(parsed->step, ReadStep(parameters));
  if (payload.size() != EncodedBytesMax()) {
    return Error{ErrorCode::kMalformed,
                 "expected " + std::to_string(EncodedBytesMax()) + " bytes, found " +
                     std::to_string(payload.size()),
                 ErrorDetail::kPayloadBytes};
  }
  if (parsed->step * static_cast<float>(level_max()) > limits.magnitude_max) {
    return Error{ErrorCode::kLimitExceeded,
                 "round parameters: the range exceeds " + std::to_string(limits.magnitude_max),
                 ErrorDetail::kValueTooLarge};
  }
  bool known = PaddingIsZero(payload, count_, config_.bits);
  ForCodes(payload, config_.bits, 0, count_, [&](std::size_t, std::span<const std::uint8_t> codes) {
    for (const std::uint8_t code : codes) known = known && code <= 2 * level_max();
  });
  if (!known)
    return Error{ErrorCode::kMalformed, "expected levels of the grid and zero bits after the last",
                 ErrorDetail::kPaddingBits};
  parsed->packed = payload;
  return std::unique_ptr<ParsedPayload>(std::move(parsed));
}

void SharedQuantize::DecodeAdd(const ParsedPayload& payload, std::size_t first, float scale,
                               std::span<float> out) const {
  FL_CHECK(first + out.size() <= count_, "a block of coordinates lies inside its segment");
  const auto& parsed = static_cast<const ParsedShared&>(payload);
  const kernels::LevelGrid grid{.step = parsed.step, .low = 0, .zero = level_max()};
  ForCodes(parsed.packed, config_.bits, first, out.size(),
           [&](std::size_t at, std::span<const std::uint8_t> codes) {
             kernels::AddLevels(std::as_bytes(codes), grid, scale, out.subspan(at, codes.size()));
           });
}

void SharedQuantize::DecodeAddIntegers(const ParsedPayload& payload, std::size_t first,
                                       std::span<std::int64_t> out) const {
  FL_CHECK(first + out.size() <= count_, "a block of coordinates lies inside its segment");
  const auto& parsed = static_cast<const ParsedShared&>(payload);
  ForCodes(parsed.packed, config_.bits, first, out.size(),
           [&](std::size_t at, std::span<const std::uint8_t> codes) {
             for (std::size_t i = 0; i < codes.size(); ++i) out[at + i] += codes[i] - level_max();
           });
}

void SharedQuantize::Finish(std::span<const std::int64_t> sum, std::size_t /*summands*/,
                            const RoundParameters& parameters, std::size_t /*first*/,
                            std::span<float> out) const {
  const auto step = ReadStep(parameters);
  FL_CHECK(step.has_value(), "the round's parameters are those that its payloads were parsed with");
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<float>(static_cast<double>(sum[i]) * static_cast<double>(*step));
  }
}

}  // namespace fl
