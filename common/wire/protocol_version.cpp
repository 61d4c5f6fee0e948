#include "fl/common/wire/protocol_version.h"

#include <string>

#include "fl/common/wire/messages.h"

namespace fl::wire {

Result<> CheckProtocol(ByteSpan message, std::string_view reader, std::string_view writer) {
  if (message.size() < 2) return Ok{};
  const unsigned found =
      std::to_integer<unsigned>(message[0]) | std::to_integer<unsigned>(message[1]) << 8U;
  if (found == kProtocolVersion) return Ok{};
  return Error{ErrorCode::kWrongVersion,
               "protocol: " + std::string(reader) + " speaks version " +
                   std::to_string(kProtocolVersion) + ", " + std::string(writer) + " version " +
                   std::to_string(found) + "; update the older of the two"};
}

}  // namespace fl::wire
