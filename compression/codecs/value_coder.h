#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"
#include "fl/common/random/rng_stream.h"
#include "fl/compression/codec.h"
#include "fl/compression/stage.h"

namespace fl {

// The last lossy step of a chain: a row of numbers to bytes of a size that depends on their count
// alone, so that any coordinate can be reached without reading those before it. Raw, Fp16 and
// Quantize are value coders; DenseCodec applies one to a whole segment, TopK to the kept values,
// LowRank to the factors. Stateless and immutable. Thread safety: shared objects safe.
class ValueCoder {
 public:
  virtual ~ValueCoder() = default;

  virtual CodecTraits traits() const = 0;
  // Bytes that `count` values take, exactly.
  virtual std::size_t EncodedBytes(std::size_t count) const = 0;
  // Appends EncodedBytes(values.size()) bytes. The values are finite.
  virtual void Encode(std::span<const float> values, RngStream& rng, ByteWriter& out) const = 0;
  // What writes the bytes of Encode for values that come in pieces; null: the coder must see them
  // at once. The coder outlives it.
  virtual std::unique_ptr<PieceEncoder> EncodePieces() const { return nullptr; }
  // Whether the payload, of EncodedBytes(count) bytes, is one that Encode can have written: finite
  // values within the limits, unused codes and bits absent. kMalformed, kNotFinite or
  // kLimitExceeded.
  virtual Result<> Check(ByteSpan payload, std::size_t count,
                         const PayloadLimits& limits) const = 0;
  // out[i] += scale * decoded[first + i], on a payload of `count` values that Check accepted.
  virtual void DecodeAdd(ByteSpan payload, std::size_t count, std::size_t first, float scale,
                         std::span<float> out) const = 0;
};

// The coder that a stage names; no stage: raw. `after_shape`: of the values that a stage before it
// chose, which have no channels; else of a whole segment. Defined in recipe.cpp.
Result<std::unique_ptr<ValueCoder>> BuildValueCoder(const Stage* stage, const Shape& shape,
                                                    bool after_shape);

}  // namespace fl
