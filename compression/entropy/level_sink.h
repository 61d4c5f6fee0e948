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
  // Levels that are not zero, of ascending indices: those of `places`, counted from `to`.
  virtual void PutPlaces(std::size_t to, std::span<const std::uint32_t> places,
                         std::span<const std::int32_t> levels) {
    for (std::size_t i = 0; i < places.size(); ++i) Put(to + places[i], levels[i]);
  }
};

}  // namespace fl
