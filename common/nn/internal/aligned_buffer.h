#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <string>

#include "fl/common/base/result.h"

namespace fl::nn::internal {

// Zeroed memory aligned to a cache line, which the kernels read fastest.
template <typename T>
class AlignedBuffer {
 public:
  static constexpr std::size_t kAlignment = 64;
  static constexpr std::size_t kBytesMax = std::size_t{1} << 40;

  AlignedBuffer() = default;
  // kLimitExceeded when the memory is not there.
  static Result<AlignedBuffer> Allocate(std::size_t count) {
    if (count <= kBytesMax / sizeof(T)) {
      const std::size_t bytes = (count * sizeof(T) / kAlignment + 1) * kAlignment;
      AlignedBuffer buffer;
      buffer.data_.reset(static_cast<T*>(std::aligned_alloc(kAlignment, bytes)));
      if (buffer.data_ != nullptr) {
        for (std::size_t i = 0; i < count; ++i) buffer.data_[i] = T{};
        return buffer;
      }
    }
    return Error{ErrorCode::kLimitExceeded,
                 "workspace: expected to get memory for " + std::to_string(count) + " values of " +
                     std::to_string(sizeof(T)) + " bytes, found too little"};
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(T* data) const { std::free(data); }
  };
  std::unique_ptr<T[], Free> data_;
};

// `count` rounded up so that what follows it in a buffer is aligned too.
constexpr std::size_t AlignedCount(std::size_t count, std::size_t per_line = 16) {
  return (count + per_line - 1) / per_line * per_line;
}

}  // namespace fl::nn::internal
