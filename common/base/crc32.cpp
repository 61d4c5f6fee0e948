// Alone in its file, so that a program that needs no CRC does not link zlib.
#include <zlib.h>

#include "fl/common/base/bytes.h"

namespace fl {

std::uint32_t Crc32(ByteSpan bytes) {
  return static_cast<std::uint32_t>(
      crc32_z(0, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()));
}

}  // namespace fl
