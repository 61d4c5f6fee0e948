#pragma once

#include <string_view>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"

namespace fl::wire {

// Looks at the version that begins a CheckInRequest and a CheckInAnswer, before anything else is
// read: what follows may be of another form. kWrongVersion names both versions, the reader's first:
// `reader` and `writer` are "the server" and "the client", or the other way round. A message too
// short for a version passes: Decode says what is wrong with it.
Result<> CheckProtocol(ByteSpan message, std::string_view reader, std::string_view writer);

}  // namespace fl::wire
