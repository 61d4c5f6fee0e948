#pragma once

#include <cstdint>
#include <span>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"

// Rice codes of ascending indices in a block (Golomb 1966, Rice 1979): the grammar is in
// codecs/top_k.h.
namespace fl {

// Bits of a remainder for `count` indices of `size`: 2^b is about 0.69 times the mean gap.
unsigned RiceWidth(std::size_t count, std::size_t size);

// Appends the gaps of `indices`, strictly ascending and below `size`.
void WriteIndices(std::span<const std::uint32_t> indices, std::size_t size, ByteWriter& out);

// Reads `count` indices below `size`, one at a time.
class IndexReader {
 public:
  IndexReader(ByteSpan bytes, std::size_t count, std::size_t size)
      : bytes_(bytes), size_(size), width_(RiceWidth(count, size)) {}

  // The next index; kMalformed when it is not below the size or the bits end. Call `count` times at
  // most.
  Result<std::uint32_t> Next();
  // The same over bits that a first reading accepted.
  std::uint32_t NextChecked();
  // As many of the next as there is room for, faster. An error is that of the first wrong one.
  Result<> Next(std::span<std::uint32_t> out);
  void NextChecked(std::span<std::uint32_t> out);
  // Bytes begun so far.
  std::size_t bytes_read() const { return (bit_ + 7) / 8; }
  // Whether the bits from here to the end of the byte are zero.
  bool PaddingIsZero() const;

 private:
  std::uint64_t Word() const;
  std::size_t ReadWord(std::span<std::uint32_t> out);

  ByteSpan bytes_;
  std::size_t size_;
  unsigned width_;
  std::size_t bit_ = 0;
  std::size_t next_least_ = 0;  // The least index that the next one can be.
};

}  // namespace fl
