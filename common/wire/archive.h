#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include <cereal/cereal.hpp>
#include <cereal/types/common.hpp>

#include "fl/common/base/bytes.h"
#include "fl/common/base/digest.h"

// Our Cereal archives. A message declares its fields once, in serialize(); these fix what the bytes
// are:
//
//   bool             one byte, 0 or 1
//   other numbers    little-endian, two's complement, IEEE 754, at their own width
//   enumeration      as its underlying type
//   text, list       count:varint, then the elements;  array: the elements
//   digest           its 32 bytes
//   optional         one byte, 0 or 1, then the value if 1
//
// Pointers and polymorphism do not exist here. Stock Cereal archives resize containers before they
// know that the bytes are there; ours compare each count with its limit and with what remains
// first.
namespace fl::wire {

class Output : public cereal::OutputArchive<Output, cereal::AllowEmptyClassElision> {
 public:
  Output() : OutputArchive(this) {}
  ByteWriter& writer() { return writer_; }

 private:
  ByteWriter writer_;
};

// Reads until the first error and then yields zeros and empty containers; the error is asked for at
// the end.
class CheckedInput : public cereal::InputArchive<CheckedInput, cereal::AllowEmptyClassElision> {
 public:
  struct Limits {
    std::size_t text_bytes_max;
    std::size_t list_max;
  };
  CheckedInput(ByteSpan bytes, const Limits& limits)
      : InputArchive(this), reader_(bytes), limits_(limits) {}

  const Limits& limits() const { return limits_; }

  template <typename T>
    requires std::is_arithmetic_v<T>
  T Number() {
    return Keep(reader_.Read<T>());
  }
  bool Flag();
  // A count of elements of at least one byte each, at most `count_max`.
  std::size_t Count(std::size_t count_max);
  ByteSpan Span(std::size_t count) { return Keep(reader_.ReadSpan(count)); }

  // The first error, or kMalformed when bytes are left over.
  Result<> Finish();

 private:
  template <typename T>
  T Keep(Result<T> result) {
    if (!error_ && result) return *result;
    if (!error_) error_ = result.error();
    return T{};
  }

  ByteReader reader_;
  Limits limits_;
  std::optional<Error> error_;
};

template <typename T>
  requires std::is_arithmetic_v<T>
void CEREAL_SAVE_FUNCTION_NAME(Output& output, const T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    output.writer().Write<std::uint8_t>(value ? 1 : 0);
  } else {
    output.writer().Write(value);
  }
}
template <typename T>
  requires std::is_arithmetic_v<T>
void CEREAL_LOAD_FUNCTION_NAME(CheckedInput& input, T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    value = input.Flag();
  } else {
    value = input.Number<T>();
  }
}

void CEREAL_SAVE_FUNCTION_NAME(Output& output, const std::string& text);
void CEREAL_LOAD_FUNCTION_NAME(CheckedInput& input, std::string& text);

inline void CEREAL_SAVE_FUNCTION_NAME(Output& output, const Digest& digest) {
  output.writer().WriteSpan(digest.bytes);
}
inline void CEREAL_LOAD_FUNCTION_NAME(CheckedInput& input, Digest& digest) {
  const ByteSpan span = input.Span(digest.bytes.size());
  if (span.size() == digest.bytes.size()) std::copy(span.begin(), span.end(), digest.bytes.begin());
}

template <typename T>
void CEREAL_SAVE_FUNCTION_NAME(Output& output, const std::vector<T>& list) {
  output.writer().WriteVarint(list.size());
  for (const T& element : list) output(element);
}
template <typename T>
void CEREAL_LOAD_FUNCTION_NAME(CheckedInput& input, std::vector<T>& list) {
  list.clear();
  list.resize(input.Count(input.limits().list_max));
  for (T& element : list) input(element);
}

template <typename T>
void CEREAL_SAVE_FUNCTION_NAME(Output& output, const std::optional<T>& value) {
  output(value.has_value());
  if (value) output(*value);
}
template <typename T>
void CEREAL_LOAD_FUNCTION_NAME(CheckedInput& input, std::optional<T>& value) {
  value.reset();
  if (input.Flag()) input(value.emplace());
}

}  // namespace fl::wire

CEREAL_SETUP_ARCHIVE_TRAITS(fl::wire::CheckedInput, fl::wire::Output)
