#pragma once

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "fl/common/base/bytes.h"
#include "fl/common/data/dataset.h"
#include "fl/common/data/limits.h"

namespace fl::data {

// The array of an IDX file: first extent = items. 16-bit values are widened.
struct IdxArray {
  std::vector<std::size_t> extents;  // 1 to 8, each >= 1.
  std::variant<std::vector<std::uint8_t>, std::vector<std::int32_t>> values;
};

// file = 0x00 0x00, type (0x08 uint8, 0x0B int16, 0x0C int32), rank, rank x extent (u32), values:
// all big-endian, last extent fastest. (Y. LeCun's format of MNIST.) kMalformed, kLimitExceeded,
// kUnsupported (type, rank).
Result<IdxArray> ParseIdx(ByteSpan bytes, const DataLimits& limits = {});

// Features and labels to samples. Labels are whole numbers: classes, or with `regression` targets.
// `classes` 0: the largest label + 1. kMalformed when there are not as many labels as samples or a
// label is out of range.
Result<Samples> CombineIdx(IdxArray features, const std::vector<std::int32_t>& labels,
                           bool regression, std::size_t classes, const DataLimits& limits = {});

// The values of an array of rank 1. kMalformed for another rank.
Result<std::vector<std::int32_t>> IdxIntegers(const IdxArray& array);

}  // namespace fl::data
