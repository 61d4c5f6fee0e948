// A plan is all that a device needs to take part. This reads one, shows the network and the codecs
// that follow from it, and what a mistake in a plan looks like.
//
//   ./build/dev/examples/03_read_a_plan

#include <cstdio>
#include <string>

#include "fl/compression/check_plan.h"

namespace {

constexpr const char* kPlan = R"(
name = "thermometers"

[model]
input = [8]
layers = ["dense 64", "relu", "dense 3"]

[compression]
gather_below = 100

[[compression.recipe]]
tensors = "*.weight"
recipe = "low_rank 1 | quantize 4"
)";

// Reading checks each value, CheckPlan whether the parts fit together.
fl::Result<std::shared_ptr<const fl::CheckedPlan>> Read(const std::string& text) {
  FL_TRY(fl::Plan plan, fl::ParsePlan(text, "example.toml"));
  return fl::CheckPlan(std::move(plan), "example.toml");
}

fl::Result<> Run() {
  FL_TRY(const auto checked, Read(kPlan));
  std::printf("%s, plan %.12s..., %zu parameters\n", checked->plan.name.c_str(),
              checked->plan_digest.ToHex().c_str(), checked->delta.layout().total());
  for (const fl::Segment& segment : checked->delta.segments()) {
    std::printf("  %-14s %-8s at most %zu bytes\n", segment.name.c_str(),
                segment.shape.ToText().c_str(), segment.codec->EncodedBytesMax());
  }

  // The error says where, what was expected and what was found.
  std::string wrong = kPlan;
  wrong.replace(wrong.find("quantize 4"), 10, "quantize 9");
  const auto refused = Read(wrong);
  std::printf("%s\n", refused ? "accepted" : refused.error().message.c_str());
  return {};
}

}  // namespace

int main() {
  const fl::Result<> result = Run();
  if (!result) std::fprintf(stderr, "%s\n", result.error().message.c_str());
  return result ? 0 : 1;
}
