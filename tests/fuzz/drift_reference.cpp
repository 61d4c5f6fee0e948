#include "fl/client/serve/drift.h"
#include "fl/common/base/bytes.h"

// Whatever a model file's note says, it is refused or read back from its own line.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto reference =
      fl::client::DriftReference::Parse(fl::AsText(std::as_bytes(std::span(data, size))));
  if (!reference) return 0;
  const auto again = fl::client::DriftReference::Parse(reference->ToText());
  FL_CHECK(again && *again == *reference, "the line that was written is read back");
  return 0;
}
