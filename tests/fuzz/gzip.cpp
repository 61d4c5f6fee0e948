#include "fl/common/data/internal/gzip.h"

// Decompression ends, within its limit.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto content =
      fl::data::internal::DecompressGzip(std::as_bytes(std::span(data, size)), 1U << 20);
  FL_CHECK(!content || content->size() <= 1U << 20, "the limit holds");
  return 0;
}
