#pragma once

#include <cstddef>
#include <cstdint>

namespace fl {

// Where a reader of an entropy code puts the levels that are not zero, in ascending order of their
// indices.
class LevelSink {
 public:
  virtual ~LevelSink() = default;
  virtual void Put(std::size_t index, std::int32_t level) = 0;
};

}  // namespace fl
