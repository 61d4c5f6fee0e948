#include "fl/compression/codecs/level_codec.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "fl/tests/compression/codec_builder.h"

namespace fl {
namespace {

using testing::CodeOf;
using testing::DecodeAll;
using testing::EncodeValues;
using testing::MakeCodec;

std::vector<float> SomeValues(std::size_t count) {
  auto values = testing::NormalValues(count, RngStream(1));
  for (std::size_t i = 0; i < count; ++i) values[i] *= i % 7 == 0 ? 5.0F : 1.0F;
  return values;
}

constexpr const char* kRecipes[] = {"dead_zone 3",
                                    "dead_zone 0.1 zero=0.5 | context",
                                    "dead_zone 2 | rice",
                                    "dead_zone 1 | pack",
                                    "top_k 1% | ternary",
                                    "top_k 0.1% | ternary | context",
                                    "top_k 5% | ternary | rice",
                                    "top_k 50% | ternary | pack",
                                    "quantize step=2",
                                    "quantize step=0.3 stochastic | context",
                                    "quantize 4 | context",
                                    "quantize 2 stochastic | rice",
                                    "top_k 3% | quantize 4 | context",
                                    "top_k 3% | quantize step=1",
                                    "quantize 4 | rans",
                                    "dead_zone 1 | rans",
                                    "quantize step=0.01 | rans"};

TEST_CASE("LevelCodec: any split into blocks of coordinates gives the same bits") {
  for (const char* recipe : kRecipes) {
    CAPTURE(recipe);
    const auto codec = MakeCodec(recipe, {700, 300});
    const auto values = SomeValues(codec->count());
    const auto encoded = EncodeValues(*codec, values, RngStream(2));
    CHECK(DecodeAll(*codec, encoded) == encoded.decoded);
    const auto parsed = testing::Get(codec->Parse(encoded.payload, encoded.parameters, {}));
    std::vector<float> pieces(codec->count());
    for (std::size_t first = 0; first < pieces.size(); first += 65537) {
      const std::size_t size = std::min<std::size_t>(65537, pieces.size() - first);
      codec->DecodeAdd(*parsed, first, 1.0F, std::span(pieces).subspan(first, size));
    }
    CHECK(pieces == encoded.decoded);
  }
}

TEST_CASE("LevelCodec: what it decodes to encodes to the same levels") {
  for (const char* recipe : {"quantize 4 | context", "quantize 3 | rice", "quantize 8 | pack",
                             "top_k 2% | ternary | context"}) {
    CAPTURE(recipe);
    const auto codec = MakeCodec(recipe, {90, 40});
    const auto once = EncodeValues(*codec, SomeValues(codec->count()), RngStream(2));
    CHECK(EncodeValues(*codec, once.decoded, RngStream(3)).payload == once.payload);
  }
}

TEST_CASE("LevelCodec: a code without a name is the smallest of all") {
  for (const char* recipe : {"dead_zone 0.02", "dead_zone 3", "top_k 0.01% | ternary"}) {
    CAPTURE(recipe);
    const auto values = SomeValues(70000);
    const std::size_t size =
        EncodeValues(*MakeCodec(recipe, {700, 100}), values, RngStream(2)).payload.size();
    for (const char* code : {" | pack", " | rice", " | rans", " | context"}) {
      const auto named = MakeCodec(recipe + std::string(code), {700, 100});
      CHECK(size <= EncodeValues(*named, values, RngStream(2)).payload.size() + 1);
    }
  }
}

TEST_CASE("LevelCodec: damaged payloads are refused or are others that decode within the limits") {
  for (const char* recipe : kRecipes) {
    CAPTURE(recipe);
    const auto codec = MakeCodec(recipe, {40, 30});
    const auto encoded = EncodeValues(*codec, SomeValues(codec->count()), RngStream(2));
    const auto reads = [&](const Bytes& payload) {
      const auto parsed = codec->Parse(payload, {}, {});
      if (!parsed) return;
      std::vector<float> out(codec->count());
      codec->DecodeAdd(**parsed, 0, 1.0F, out);
      CHECK(std::ranges::all_of(out, [](float value) { return std::fabs(value) <= 1.01e9F; }));
    };
    for (std::size_t size = 0; size < encoded.payload.size(); ++size)
      reads(Bytes(encoded.payload.begin(),
                  encoded.payload.begin() + static_cast<std::ptrdiff_t>(size)));
    for (std::size_t at = 0; at < encoded.payload.size(); ++at) {
      Bytes changed = encoded.payload;
      changed[at] ^= std::byte{0x41};
      reads(changed);
    }
    Bytes longer = encoded.payload;
    longer.push_back(std::byte{0});
    CHECK(CodeOf(codec->Parse(longer, {}, {})) == ErrorCode::kMalformed);
  }
}

TEST_CASE("LevelCodec: bad scales are refused by their kind") {
  const auto codec = MakeCodec("quantize 4 | context", {20, 20});
  const auto encoded = EncodeValues(*codec, SomeValues(400), RngStream(2));
  const auto with_step = [&](unsigned high) {
    Bytes payload = encoded.payload;
    payload[1] = static_cast<std::byte>(high);
    return CodeOf(codec->Parse(payload, {}, {}));
  };
  CHECK(with_step(0x7F) != ErrorCode::kOk);
  Bytes infinite = encoded.payload;
  infinite[0] = std::byte{0x80};
  infinite[1] = std::byte{0x7F};
  CHECK(CodeOf(codec->Parse(infinite, {}, {})) == ErrorCode::kNotFinite);
  CHECK(with_step(0xBF) == ErrorCode::kMalformed);
  CHECK(with_step(0x60) == ErrorCode::kLimitExceeded);
  CHECK(CodeOf(codec->Parse(Bytes{std::byte{1}}, {}, {})) == ErrorCode::kMalformed);
  CHECK(CodeOf(codec->Parse(Bytes{std::byte{1}, std::byte{0x3F}}, {}, {})) ==
        ErrorCode::kMalformed);
  const std::vector<float> ones(400, 1.0F);
  const auto small = MakeCodec("dead_zone 1", {20, 20});
  Bytes payload = EncodeValues(*small, ones, RngStream(1)).payload;
  payload[3] = std::byte{5};
  CHECK(CodeOf(small->Parse(payload, {}, {})) == ErrorCode::kMalformed);
}

TEST_CASE("LevelCodec: chains that cannot work are refused with the reason") {
  struct Refused {
    const char* recipe;
    const char* reason;
  };
  for (const Refused& refused : {
           Refused{"ternary", "needs top_k before it"},
           Refused{"top_k 1% | dead_zone 2", "chooses what is sent by itself"},
           Refused{"dead_zone", "width of a bin"},
           Refused{"dead_zone 0", "width of a bin"},
           Refused{"dead_zone 2 zero=2", "zero: expected"},
           Refused{"dead_zone 2 one=2", "unknown option"},
           Refused{"ternary 3", "takes no arguments"},
           Refused{"quantize step=0", "step: expected"},
           Refused{"quantize 4 step=1", "expected stochastic"},
           Refused{"quantize 4 asymmetric | context", "one symmetric grid"},
           Refused{"quantize 1 | rice", "one symmetric grid"},
           Refused{"fp16 | context", "codes integer levels"},
           Refused{"top_k 1% | fp16 | context", "codes integer levels"},
           Refused{"low_rank 2 | dead_zone 2", ""},
           Refused{"low_rank 2 | ternary | rice", ""},
           Refused{"dead_zone 2 | context 3", "takes no arguments"},
       }) {
    CAPTURE(refused.recipe);
    const auto codec = BuildCodec(testing::Get(ParseRecipe(refused.recipe)), {40, 30});
    REQUIRE(CodeOf(codec) == ErrorCode::kInvalidArgument);
    CHECK(codec.error().message.find(refused.reason) != std::string::npos);
  }
}

TEST_CASE("LevelCodec: sizes of messages have a ceiling") {
  const auto values = SomeValues(200 * 784);
  const auto bytes = [&](const char* recipe) {
    return EncodeValues(*MakeCodec(recipe, {784, 200}), values, RngStream(1)).payload.size();
  };
  CHECK(bytes("top_k 1% | ternary | context") < 1850);
  CHECK(bytes("top_k 1% | ternary | rice") < 1820);
  CHECK(bytes("dead_zone 4 | context") < 5550);
  CHECK(bytes("dead_zone 4 | rice") < 6200);
}

}  // namespace
}  // namespace fl
