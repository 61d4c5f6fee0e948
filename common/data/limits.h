#pragma once

#include <cstddef>
#include <cstdint>

namespace fl::data {

// What a loader accepts. Each is checked before anything is allocated by it; kLimitExceeded names
// the one that was hit.
struct DataLimits {
  std::uint64_t file_bytes_max =
      1ULL << 32;  // Of one file, and again of what it holds when decompressed.
  std::size_t samples_max = 1U << 26;
  std::uint64_t values_max = 1ULL << 30;  // Samples times features.
  std::size_t classes_max = 65536;
  std::size_t columns_max = 16384;      // CSV.
  std::size_t categories_max = 4096;    // CSV: different values of one categorical column.
  std::size_t field_bytes_max = 65536;  // CSV.
};

}  // namespace fl::data
