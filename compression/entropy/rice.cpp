#include "fl/compression/entropy/rice.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "fl/common/base/error_detail.h"
#include "fl/compression/entropy/bit_writer.h"

namespace fl {

unsigned RiceWidth(std::size_t count, std::size_t size) {
  if (count == 0) return 0;
  const std::size_t scaled = size * 177 / (count * 256);  // 177 / 256 is about ln 2.
  return scaled < 2 ? 0 : static_cast<unsigned>(std::bit_width(scaled)) - 1;
}

void WriteIndices(std::span<const std::uint32_t> indices, std::size_t size, ByteWriter& out) {
  const unsigned width = RiceWidth(indices.size(), size);
  BitWriter bits(out);
  std::uint32_t least = 0;
  for (const std::uint32_t index : indices) {
    const std::uint32_t gap = index - least;
    bits.WriteOnes(gap >> width);
    bits.Write(0, 1);
    bits.Write(gap & ((1U << width) - 1), width);
    least = index + 1;
  }
  bits.Finish();
}

// The next 57 bits at least; zeros after the end.
std::uint64_t IndexReader::Word() const {
  std::uint64_t word = 0;
  const std::size_t at = bit_ / 8;
  if (at < bytes_.size())
    std::memcpy(&word, bytes_.data() + at, std::min<std::size_t>(8, bytes_.size() - at));
  return word >> (bit_ % 8);
}

std::uint32_t IndexReader::NextChecked() {
  constexpr unsigned kSure = 56;
  std::size_t quotient = 0;
  while (true) {
    const auto ones = std::min<unsigned>(static_cast<unsigned>(std::countr_one(Word())), kSure);
    quotient += ones;
    bit_ += ones;
    if (ones < kSure) break;
  }
  ++bit_;
  const std::size_t gap = (quotient << width_) | (Word() & ((std::uint64_t{1} << width_) - 1));
  bit_ += width_;
  const std::size_t index = next_least_ + gap;
  next_least_ = index + 1;
  return static_cast<std::uint32_t>(index);
}

Result<std::uint32_t> IndexReader::Next() {
  // Zeros follow the end of the bits, so a run of ones always ends; no more than all bits are
  // looked at.
  const std::size_t place = next_least_;
  const std::uint32_t index = NextChecked();
  if (bit_ > bytes_.size() * 8) {
    return Error{ErrorCode::kMalformed,
                 "the bits of the indices end after index " + std::to_string(place),
                 ErrorDetail::kIndexCutShort};
  }
  if (next_least_ > size_) {
    return Error{ErrorCode::kMalformed,
                 "expected indices below " + std::to_string(size_) + ", found " +
                     std::to_string(next_least_ - 1),
                 ErrorDetail::kIndexRange};
  }
  return index;
}

// The indices that lie wholly in the next 56 bits at least; none near the end of the bytes.
std::size_t IndexReader::ReadWord(std::span<std::uint32_t> out) {
  const std::size_t at = bit_ / 8;
  if (at + sizeof(std::uint64_t) > bytes_.size()) return 0;
  std::uint64_t word = 0;
  std::memcpy(&word, bytes_.data() + at, sizeof(word));
  word >>= bit_ % 8;
  const unsigned all = 63 - static_cast<unsigned>(bit_ % 8);
  const std::uint64_t mask = (std::uint64_t{1} << width_) - 1;
  unsigned left = all;
  std::size_t next = next_least_;
  std::size_t count = 0;
  for (; count < out.size(); ++count) {
    const auto ones = static_cast<unsigned>(std::countr_one(word));
    const unsigned used = ones + 1 + width_;
    if (used > left) break;
    next += (std::uint64_t{ones} << width_) | ((word >> (ones + 1)) & mask);
    out[count] = static_cast<std::uint32_t>(next++);
    word >>= used;
    left -= used;
  }
  next_least_ = next;
  bit_ += all - left;
  return count;
}

void IndexReader::NextChecked(std::span<std::uint32_t> out) {
  for (std::size_t done = 0; done < out.size();) {
    const std::size_t read = ReadWord(out.subspan(done));
    if (read == 0) out[done] = NextChecked();
    done += std::max<std::size_t>(read, 1);
  }
}

Result<> IndexReader::Next(std::span<std::uint32_t> out) {
  const IndexReader before = *this;
  NextChecked(out);
  if (bit_ <= bytes_.size() * 8 && next_least_ <= size_) return {};
  *this = before;  // Indices ascend, so that one of these is wrong: which?
  for (std::uint32_t& index : out) {
    FL_TRY(index, Next());
  }
  return {};
}

bool IndexReader::PaddingIsZero() const {
  return bit_ % 8 == 0 || (std::to_integer<unsigned>(bytes_[bit_ / 8]) >> (bit_ % 8)) == 0;
}

}  // namespace fl
