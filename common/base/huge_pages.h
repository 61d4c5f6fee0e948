#pragma once

#include <cstddef>
#include <vector>

namespace fl {

// A vector of that many zeros whose memory the system may give in large pages, where it has them on
// request (madvise): for vectors of many megabytes that are written at once, whose first touch
// would else cost as much as the writing. A hint alone: nothing else differs.
template <typename T>
std::vector<T> MakeLargeVector(std::size_t count);

// The hint for memory that nothing has touched yet.
void AdviseHugePages(void* memory, std::size_t bytes);

template <typename T>
std::vector<T> MakeLargeVector(std::size_t count) {
  std::vector<T> values;
  values.reserve(count);
  AdviseHugePages(values.data(), count * sizeof(T));
  values.resize(count);
  return values;
}

}  // namespace fl
