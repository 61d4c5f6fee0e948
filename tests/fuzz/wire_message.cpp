#include <cstdint>

#include "fl/common/wire/messages.h"

namespace {

template <typename Message>
void Check(fl::ByteSpan bytes) {
  const auto message = fl::wire::Decode<Message>(bytes);
  if (message)
    FL_CHECK(fl::wire::Encode(*message) == fl::Bytes(bytes.begin(), bytes.end()),
             "a message has one encoding");
}

}  // namespace

// Each message decodes within its limits or is refused; what decodes has one encoding.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fl::ByteSpan bytes = std::as_bytes(std::span(data, size));
  Check<fl::wire::CheckInRequest>(bytes);
  Check<fl::wire::CheckInAnswer>(bytes);
  Check<fl::wire::ReserveRequest>(bytes);
  Check<fl::wire::UploadAnswer>(bytes);
  Check<fl::wire::Refusal>(bytes);
  return 0;
}
