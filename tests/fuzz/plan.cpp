#include "fl/common/config/plan.h"

#include <cstdint>
#include <string_view>

// A plan's text is read or refused with an error; never more.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto plan = fl::ParsePlan({reinterpret_cast<const char*>(data), size}, "plan.toml");
  if (!plan) FL_CHECK(!plan.error().message.empty(), "an error has a message");
  return 0;
}
