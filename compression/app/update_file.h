#pragma once

#include <cstddef>
#include <cstdint>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"
#include "fl/common/config/plan.h"
#include "fl/common/tensor/tensor.h"

namespace fl::codec_app {

// An update and all that is needed to read it, as one file:
//
//   file        = "FLC" version:u8 layout compression crc:u32 update
//   layout      = tensors:varint { name:text extents:varint { extent:varint } }
//   compression = gather_below:varint gathered:text rules:varint { tensors:text recipe:text }
//   text        = length:varint, that many bytes
//
// Version 1. The CRC covers everything before it; the update is wire::EncodeUpdate's, with a CRC of
// its own.
struct UpdateFile {
  TensorLayout layout;
  CompressionConfig compression;  // Rules, gather_below and gathered; the rest is as it is made.
  Bytes update;
};

struct UpdateFileLimits {
  std::size_t tensors_max = 65536;
  std::size_t rules_max = 4096;
  std::size_t text_bytes_max = 4096;
  std::uint64_t coordinates_max = 1ULL << 29;  // In all tensors.
};

Bytes SerializeUpdateFile(const UpdateFile& file);

// kMalformed, kWrongVersion, kLimitExceeded or kDigestMismatch (CRC). What the recipes and the
// update say is not looked at.
Result<UpdateFile> ParseUpdateFile(ByteSpan bytes, const UpdateFileLimits& limits = {});

// Whether the bytes begin as an UpdateFile's; else they may be an update alone.
bool IsUpdateFile(ByteSpan bytes);

}  // namespace fl::codec_app
