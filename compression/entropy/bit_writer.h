#pragma once

#include <cstdint>

#include "fl/common/base/bytes.h"

namespace fl {

// Appends bits, the lowest first, to `out`, which outlives it.
class BitWriter {
 public:
  explicit BitWriter(ByteWriter& out) : out_(out) {}
  void Write(std::uint32_t value, unsigned width) {  // width <= 32, value < 2^width.
    word_ |= std::uint64_t{value} << used_;
    for (used_ += width; used_ >= 8; used_ -= 8, word_ >>= 8)
      out_.Write(static_cast<std::uint8_t>(word_));
  }
  void WriteOnes(std::size_t count) {
    for (; count >= 32; count -= 32) Write(0xFFFFFFFFU, 32);
    Write((1U << count) - 1, static_cast<unsigned>(count));
  }
  // Pads with zeros to a byte.
  void Finish() {
    if (used_ > 0) out_.Write(static_cast<std::uint8_t>(word_));
    used_ = 0;
    word_ = 0;
  }

 private:
  ByteWriter& out_;
  std::uint64_t word_ = 0;
  unsigned used_ = 0;
};

}  // namespace fl
