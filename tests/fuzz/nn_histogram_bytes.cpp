#include <cstdint>
#include <span>

#include "fl/common/base/check.h"
#include "fl/common/nn/histogram.h"

// Bytes are a histogram or are refused; a histogram comes back from its bytes, and merging it with
// itself doubles its counts.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using fl::nn::Histogram;
  const auto histogram = Histogram::Decode(std::as_bytes(std::span(data, size)));
  if (!histogram) return 0;
  const auto again = Histogram::Decode(histogram->Encode());
  FL_CHECK(again.has_value() && *again == *histogram, "a histogram comes back from its bytes");
  Histogram twice = *histogram;
  twice.Merge(*histogram);
  FL_CHECK(twice.count() == 2 * histogram->count(), "no count is lost");
  return 0;
}
