#include "fl/common/data/idx.h"

#include <algorithm>
#include <bit>
#include <string>

namespace fl::data {
namespace {

constexpr std::size_t kRankMax = 8;

Error Malformed(std::string message) {
  return {ErrorCode::kMalformed, "IDX: " + std::move(message)};
}

// A big-endian word of the width of T, sign included.
template <typename T>
T BigEndian(const std::byte* bytes) {
  std::make_unsigned_t<T> value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    value = static_cast<std::make_unsigned_t<T>>(
        (value << 8) | std::to_integer<std::make_unsigned_t<T>>(bytes[i]));
  }
  return static_cast<T>(value);
}

template <typename T>
std::vector<std::int32_t> Widen(ByteSpan bytes) {
  std::vector<std::int32_t> values(bytes.size() / sizeof(T));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = BigEndian<T>(bytes.data() + i * sizeof(T));
  return values;
}

std::size_t BytesOfType(std::uint8_t type) {
  switch (type) {
    case 0x08:
      return 1;
    case 0x0B:
      return 2;
    case 0x0C:
      return 4;
    default:
      return 0;
  }
}

Result<std::vector<std::size_t>> ReadExtents(ByteReader& reader, std::size_t rank,
                                             const DataLimits& limits) {
  std::vector<std::size_t> extents;
  std::uint64_t values = 1;
  for (std::size_t i = 0; i < rank; ++i) {
    FL_TRY(const ByteSpan word, reader.ReadSpan(4));
    const auto extent = BigEndian<std::uint32_t>(word.data());
    if (extent == 0) return Malformed("expected extents of at least 1, found 0");
    if (extent > limits.values_max / values || (i == 0 && extent > limits.samples_max)) {
      return Error{ErrorCode::kLimitExceeded, "IDX: more samples or values than accepted"};
    }
    values *= extent;
    extents.push_back(extent);
  }
  return extents;
}

}  // namespace

Result<IdxArray> ParseIdx(ByteSpan bytes, const DataLimits& limits) {
  ByteReader reader(bytes);
  FL_TRY(const std::uint16_t zeros, reader.Read<std::uint16_t>());
  FL_TRY(const std::uint8_t type, reader.Read<std::uint8_t>());
  FL_TRY(const std::uint8_t rank, reader.Read<std::uint8_t>());
  if (zeros != 0) return Malformed("expected two zero bytes at the start");
  const std::size_t width = BytesOfType(type);
  if (width == 0 || rank == 0 || rank > kRankMax) {
    return Error{ErrorCode::kUnsupported,
                 "IDX: expected uint8, int16 or int32 of rank 1 to 8, found type " +
                     std::to_string(type) + " of rank " + std::to_string(rank)};
  }
  IdxArray array;
  FL_TRY(array.extents, ReadExtents(reader, rank, limits));
  std::uint64_t expected = width;
  for (const std::size_t extent : array.extents) expected *= extent;
  if (reader.remaining() != expected) {
    return Malformed("expected " + std::to_string(expected) + " bytes of values, found " +
                     std::to_string(reader.remaining()));
  }
  FL_TRY(const ByteSpan values, reader.ReadSpan(reader.remaining()));
  if (width == 1) {
    const auto* first = reinterpret_cast<const std::uint8_t*>(values.data());
    array.values = std::vector<std::uint8_t>(first, first + values.size());
  } else {
    array.values = width == 2 ? Widen<std::int16_t>(values) : Widen<std::int32_t>(values);
  }
  return array;
}

Result<Samples> CombineIdx(IdxArray features, const std::vector<std::int32_t>& labels,
                           bool regression, std::size_t classes, const DataLimits& limits) {
  if (features.extents.front() != labels.size()) {
    return Malformed("expected a label for each of " + std::to_string(features.extents.front()) +
                     " samples, found " + std::to_string(labels.size()));
  }
  Samples samples;
  samples.shape =
      Shape(std::vector<std::size_t>(features.extents.begin() + 1, features.extents.end()));
  if (auto* bytes = std::get_if<std::vector<std::uint8_t>>(&features.values)) {
    samples.features = std::move(*bytes);
  } else {
    const auto& integers = std::get<std::vector<std::int32_t>>(features.values);
    std::vector<float> floats(integers.size());
    std::ranges::transform(integers, floats.begin(),
                           [](std::int32_t value) { return static_cast<float>(value); });
    samples.features = std::move(floats);
  }
  if (regression) {
    for (const std::int32_t label : labels) samples.targets.push_back(static_cast<float>(label));
    return samples;
  }
  const std::int32_t largest = *std::ranges::max_element(labels);
  if (*std::ranges::min_element(labels) < 0) return Malformed("expected labels of at least 0");
  samples.classes = classes > 0 ? classes : static_cast<std::size_t>(largest) + 1;
  if (samples.classes > limits.classes_max) {
    return Error{ErrorCode::kLimitExceeded,
                 "IDX: " + std::to_string(samples.classes) + " classes are more than accepted"};
  }
  if (static_cast<std::size_t>(largest) >= samples.classes) {
    return Malformed("expected labels below " + std::to_string(samples.classes) + ", found " +
                     std::to_string(largest));
  }
  samples.labels = labels;
  return samples;
}

Result<std::vector<std::int32_t>> IdxIntegers(const IdxArray& array) {
  if (array.extents.size() != 1)
    return Malformed("expected one value a sample, found rank " +
                     std::to_string(array.extents.size()));
  return std::visit(
      [](const auto& values) { return std::vector<std::int32_t>(values.begin(), values.end()); },
      array.values);
}

}  // namespace fl::data
