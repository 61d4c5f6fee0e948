#include "fl/common/config/plan.h"

#include <cstdint>
#include <string_view>

#include "fl/common/config/hardware_profile.h"
#include "fl/common/config/pass_file.h"

// The text of a plan, of a pass list or of a device profile is read or refused with an error;
// never more.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto plan = fl::ParsePlan(text, "plan.toml");
  if (!plan) FL_CHECK(!plan.error().message.empty(), "an error has a message");
  const auto passes = fl::ParsePassFile(text, "passes.toml");
  if (!passes) FL_CHECK(!passes.error().message.empty(), "an error has a message");
  const auto profile = fl::ParseProfile(text, "device.toml");
  if (!profile) FL_CHECK(!profile.error().message.empty(), "an error has a message");
  return 0;
}
