#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "fl/common/base/result.h"

namespace fl::internal {

inline constexpr std::string_view kMetadataName = "__metadata__";
inline constexpr std::size_t kRankMax = 8;

// One tensor as the header declares it; nothing is checked against the data yet.
struct TensorEntry {
  std::string name;
  std::string dtype;
  std::vector<std::uint64_t> shape;  // At most kRankMax.
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

struct SafetensorsHeader {
  std::map<std::string, std::string> metadata;
  std::vector<TensorEntry> tensors;  // In the order of the header; names unique.
};

// Reads the JSON of a safetensors header. kMalformed for anything but the grammar above
// SerializeSafetensors: unknown or missing fields, names that occur twice, other nesting;
// kLimitExceeded for more than `tensors_max` tensors; kUnsupported for more than 8 extents. Keeps
// no more than the text holds and does not recurse.
Result<SafetensorsHeader> ParseSafetensorsHeader(std::string_view text, std::size_t tensors_max);

}  // namespace fl::internal
