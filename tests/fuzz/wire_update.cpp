#include <cstdint>

#include "fl/common/wire/update.h"

// An update decodes within its limits or is refused; what decodes has one encoding.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fl::ByteSpan bytes = std::as_bytes(std::span(data, size));
  const auto view = fl::wire::DecodeUpdate(bytes, {});
  if (!view) return 0;
  fl::wire::Update update{view->task, view->base, view->recipe, view->examples, {}};
  for (const auto& stream : view->streams) {
    auto& copy = update.streams.emplace_back(fl::wire::UpdateStream{stream.id, {}});
    for (const auto& entry : stream.entries)
      copy.entries.push_back({entry.segment, {entry.payload.begin(), entry.payload.end()}});
  }
  FL_CHECK(fl::wire::EncodeUpdate(update) == fl::Bytes(bytes.begin(), bytes.end()),
           "an update has one encoding");
  return 0;
}
