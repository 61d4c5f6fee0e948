// Alone in its file, so that a program that needs no CRC does not link libdeflate, which computes
// it several times as fast as zlib does.
#include <libdeflate.h>

#include "fl/common/base/bytes.h"

namespace fl {

std::uint32_t Crc32(ByteSpan bytes) {
  return libdeflate_crc32(0, bytes.data(), bytes.size());
}

}  // namespace fl
