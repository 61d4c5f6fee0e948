#pragma once

#include "fl/common/base/bytes.h"

namespace fl::data::internal {

// Whether the bytes begin like a gzip file (RFC 1952).
bool IsGzip(ByteSpan bytes);

// Decompresses a gzip file of one or more members; memory grows with what was decompressed, never
// by a declared size. kMalformed when it is damaged, cut short or followed by other bytes;
// kLimitExceeded beyond `bytes_max`.
Result<Bytes> DecompressGzip(ByteSpan bytes, std::uint64_t bytes_max);

}  // namespace fl::data::internal
