#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace fl {

// Where a reader of an entropy code puts the levels that are not zero, in ascending order of their
// indices.
class LevelSink {
 public:
  virtual ~LevelSink() = default;
  virtual void Put(std::size_t index, std::int32_t level) = 0;
  // Levels of consecutive indices, zeros among them, which change nothing.
  virtual void PutRun(std::size_t index, std::span<const std::int32_t> levels) {
    for (std::size_t i = 0; i < levels.size(); ++i) {
      if (levels[i] != 0) Put(index + i, levels[i]);
    }
  }
};

}  // namespace fl
