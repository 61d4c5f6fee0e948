#pragma once

#include <cstddef>
#include <cstdint>

#include "fl/common/base/bytes.h"
#include "fl/compression/entropy/level_sink.h"

namespace fl {

// Levels that are not zero, in memory only and quick to read again: what is left of a code whose
// decoding is slow. Two varints each, the zeros before it and its level in zigzag order.
class SparseLevels {
 public:
  // No index is below `first`; takes at most some bytes more than bytes_max.
  SparseLevels(std::size_t first, std::size_t bytes_max)
      : first_(first), bytes_max_(bytes_max), next_(first) {}

  // Indices ascend. Where there is no room, all that came before is dropped, too.
  void Add(std::size_t index, std::int32_t level);
  // Whether every level that was added is there.
  bool complete() const { return complete_; }

  // Hands those in [first, first + count) to the sink. Needs complete().
  void Read(std::size_t first, std::size_t count, LevelSink& sink) const;

 private:
  std::size_t first_;
  std::size_t bytes_max_;
  std::size_t next_;  // The least index that may be added.
  bool complete_ = true;
  Bytes bytes_;
};

}  // namespace fl
