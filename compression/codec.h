#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "fl/common/base/bytes.h"
#include "fl/common/random/rng_stream.h"
#include "fl/common/tensor/tensor.h"
#include "fl/compression/piece_encoder.h"

namespace fl {

// What a codec (a whole chain of stages) does to the algebra of a sum; the planner refuses chains
// by it.
struct CodecTraits {
  bool lossless = false;      // Decoding gives back the input's bits.
  bool unbiased = false;      // In expectation over its random stream.
  bool deterministic = true;  // Does not draw from its random stream.
  bool linear = false;        // Sums of integers before Finish, given the round's parameters.
  bool needs_round_parameters = false;
  std::size_t granularity = 1;  // Finish takes blocks that begin at multiples of it, and end there
                                // or with the segment.
  bool shared_randomness = false;  // Draws from a seed that the round's clients share.
  bool server_state = false;       // Its part of the round's parameters follows the aggregate.
  // The expected squared error is at most this share of the values' energy, whatever the values
  // are; absent: no such bound is known.
  std::optional<double> relative_error = std::nullopt;

  // 1 - relative_error where that is below 1: what error feedback's theory asks for.
  std::optional<double> contraction() const;
  // Whether a client should keep what is left out: it is lossy and biased.
  bool wants_residual() const { return !lossless && !unbiased; }
};

// What all of a round's clients share: a blob whose digest travels in the task; empty where the
// recipe needs none.
struct RoundParameters {
  Bytes bytes;
  std::uint64_t round = 0;  // Whose they are.
};

// What a round came to, as the next round's parameters may follow from it.
struct RoundFeedback {
  std::span<const float> aggregate;  // Of one segment: what its updates added up to.
  std::optional<double> loss;        // Mean training loss over the round's updates.
  std::uint64_t updates = 0;
  std::uint64_t examples = 0;  // Of all updates.
};

// Bounds for a decoder, from the plan.
struct PayloadLimits {
  // Of any decoded value or scale. Infinity: these bytes were checked before, and a codec may leave
  // out what looks at nothing but values.
  float magnitude_max = 1e9F;
};

// A payload that has passed every check; only its codec knows what is inside. Immutable,
// thread-safe.
class ParsedPayload {
 public:
  virtual ~ParsedPayload() = default;
};

// Encodes one segment (a tensor, or several small ones gathered) to bytes and back; made by
// BuildCodec for one shape. Stateless and immutable. Thread safety: shared objects safe.
class Codec {
 public:
  virtual ~Codec() = default;

  virtual CodecTraits traits() const = 0;
  // Values in the segment.
  virtual std::size_t count() const = 0;
  // No payload is larger than this many bytes, ever.
  virtual std::size_t EncodedBytesMax() const = 0;

  // This codec's part of RoundParameters as the recipe alone gives it; empty for most codecs.
  virtual Bytes InitialParameters() const { return {}; }
  // That part of the next round's parameters, of the same size. Most codecs share the same in each
  // round.
  virtual Bytes NextParameters(ByteSpan part, const RoundFeedback& feedback) const;
  // Whether this codec's part of what a server sent is one that Encode can work with:
  // kInvalidArgument.
  virtual Result<> CheckParameters(const RoundParameters& parameters) const;

  // Appends the payload for `values` (finite, count() of them) to `out` and writes what a decoder
  // will see to `decoded` (same size, or empty where nobody asks), so that the residual is values -
  // decoded. Same input and stream, same bytes. The parameters are such as CheckParameters accepts.
  virtual void Encode(std::span<const float> values, std::span<float> decoded,
                      const RoundParameters& parameters, RngStream rng, ByteWriter& out) const = 0;

  // What writes Encode's payload for values that are not all in memory; null: this codec must see
  // them at once. The codec and the parameters outlive it.
  virtual std::unique_ptr<PieceEncoder> EncodePieces(const RoundParameters& parameters) const;

  // Every check is made here, once; nothing is allocated by a size from the wire. kMalformed,
  // kLimitExceeded or kNotFinite says what was wrong where. The payload must be consumed exactly;
  // it may be referred to by the result, so it must outlive it.
  virtual Result<std::unique_ptr<ParsedPayload>> Parse(ByteSpan payload,
                                                       const RoundParameters& parameters,
                                                       const PayloadLimits& limits) const = 0;

  // out[i] += scale * decoded[first + i] for every i in out; no dense temporary. The same bits for
  // any split into blocks.
  virtual void DecodeAdd(const ParsedPayload& payload, std::size_t first, float scale,
                         std::span<float> out) const = 0;

  // Linear codecs only: out[i] += level[first + i]; and, once all are added, out[i] = value of
  // sum[i]. The default implementations end the program: the planner never lets a codec that is not
  // linear come here.
  virtual void DecodeAddIntegers(const ParsedPayload& payload, std::size_t first,
                                 std::span<std::int64_t> out) const;
  virtual void Finish(std::span<const std::int64_t> sum, std::size_t summands,
                      const RoundParameters& parameters, std::size_t first,
                      std::span<float> out) const;

  // Codecs whose updates add up in others than the segment's values, which are linear in these and
  // fewer (a sketch's cells): the codec of those, which takes this codec's payloads. Null: updates
  // add up as the segment's values.
  virtual const Codec* summed() const { return nullptr; }
  // out[i] = the segment's value first + i as `sum`, of summed()->count() values, tells it. The
  // same bits for any split. The default implementation ends the program.
  virtual void Estimate(std::span<const float> sum, std::size_t first, std::span<float> out) const;

 protected:
  // Whether Encode is to write `decoded`; ends the program where a size is not this codec's.
  bool WantsDecoded(std::span<const float> values, std::span<float> decoded) const;
};

}  // namespace fl
