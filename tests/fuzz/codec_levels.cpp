#include "fl/compression/entropy/level_code.h"
#include "fl/tests/fuzz/codec_fuzz.h"

namespace {

class BoundsSink final : public fl::LevelSink {
 public:
  explicit BoundsSink(const fl::LevelSpace& space) : space_(space) {}
  void Put(std::size_t index, std::int32_t level) override {
    const auto magnitude = static_cast<std::uint32_t>(level < 0 ? -level : level);
    FL_CHECK(index >= next_ && index < space_.count, "indices ascend and stay inside");
    FL_CHECK(magnitude != 0 && magnitude <= space_.max, "levels stay in their range");
    next_ = index + 1;
  }

 private:
  const fl::LevelSpace& space_;
  std::size_t next_ = 0;
};

// An array that has several parts, which small segments have not.
void FuzzParts(const std::uint8_t* data, std::size_t size) {
  const fl::LevelSpace space{.count = 140000, .columns = 100, .max = 3};
  const fl::ByteSpan bytes = std::as_bytes(std::span(data, size));
  const auto parsed = fl::ParsedLevels::ParseTagged(bytes, space);
  if (!parsed) return;
  BoundsSink sink(space);
  parsed->Read(0, space.count, sink);
}

}  // namespace

// Integer levels behind their entropy codes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static constexpr std::string_view kRecipes[] = {"dead_zone 2",
                                                  "dead_zone 1 | context",
                                                  "dead_zone 3 | rice",
                                                  "top_k 4% | ternary | context",
                                                  "top_k 20% | ternary | rice",
                                                  "top_k 60% | ternary | pack",
                                                  "quantize step=0.5 stochastic | context",
                                                  "quantize 4 | context",
                                                  "quantize 3 | rans",
                                                  "dead_zone 0.02 | rans",
                                                  "top_k 20% | ternary | trits"};
  if (size > 1) FuzzParts(data + 1, size - 1);
  return fl::testing::FuzzCodecs(kRecipes, fl::Shape{60, 21}, data, size);
}
