#include "fl/common/base/check.h"
#include "fl/compression/encode_segments.h"

namespace {

fl::SegmentPlan MakePlan() {
  fl::CompressionConfig compression;
  compression.gather_below = 0;
  compression.gathered = {"auto bytes=400 start=50% patience=2 per=weight", {}};
  const auto add = [&](const char* tensors, const char* recipe) {
    compression.rules.push_back({{tensors, {}}, {recipe, {}}});
  };
  add("announced", "announced 20% | quantize 4 scale=shared range=2");
  add("masked", "shared_mask 20% | quantize 8");
  add("turned", "hadamard 64 seed=shared | quantize 4 scale=shared range=2");
  add("thin", "low_rank 2 basis=shared | quantize step=1");
  add("*", "auto bytes=400 start=50% patience=2 per=weight");
  const fl::TensorLayout layout({{"announced", fl::Shape{9, 11}},
                                 {"masked", fl::Shape{8, 10}},
                                 {"turned", fl::Shape{70, 2}},
                                 {"thin", fl::Shape{4, 3}},
                                 {"other", fl::Shape{9, 8}}});
  auto plan = fl::SegmentPlan::Create(compression, layout);
  FL_CHECK(plan.has_value(), "the recipes are possible");
  return std::move(plan).value();
}

}  // namespace

// What a server says that a round's clients share is refused, or every client can encode with it.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fl::SegmentPlan plan = MakePlan();
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  const fl::RoundParameters parameters{fl::Bytes(bytes, bytes + size), 3};
  if (!plan.CheckRoundParameters(parameters)) return 0;
  std::vector<float> values(plan.layout().total());
  fl::RngStream(1).FillNormal(values);
  fl::EncodeSegments(plan, values, parameters, fl::RngStream(2), {}, [](const auto&) {});
  return 0;
}
