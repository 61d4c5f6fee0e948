#pragma once

#include <span>

#include "fl/common/base/bytes.h"
#include "fl/common/random/rng_stream.h"

namespace fl {

// Encodes a row of values that come in pieces, in order, so that a row that is made as it goes
// need not be stored: Measure for every piece, Begin, then Write for every piece once more. The
// bytes do not depend on how the row is cut. One use. Thread safety: distinct objects safe.
class PieceEncoder {
 public:
  virtual ~PieceEncoder() = default;

  // Whether what is written depends on what was measured; else Measure may be left out.
  virtual bool measures() const = 0;
  // Takes account of a piece of finite values.
  virtual void Measure(std::span<const float> piece) = 0;
  // Appends what stands before the values.
  virtual void Begin(ByteWriter& out) = 0;
  // Appends the bytes of a piece, of a multiple of eight values but for the last one, and writes
  // what a decoder will see of it to `decoded`: as long, possibly the same values, or empty where
  // nobody asks.
  virtual void Write(std::span<const float> piece, std::span<float> decoded, RngStream& rng,
                     ByteWriter& out) = 0;
};

}  // namespace fl
