#include "fl/compression/codecs/kept_share.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "fl/compression/codecs/top_k.h"
#include "fl/tests/compression/codec_builder.h"

namespace fl {
namespace {

using testing::CodeOf;
using testing::Get;
using testing::MakeCodec;

KeptShare ReadShare(const std::string& recipe) {
  return Get(ReadTopK(Get(ParseRecipe(recipe)).stages.front()));
}

// What a round's payload holds, and its size.
struct RoundOfKept {
  std::size_t kept = 0;
  std::size_t bytes = 0;
};

RoundOfKept EncodeInRound(const Codec& codec, std::span<const float> values, std::uint64_t round) {
  std::vector<float> decoded(values.size());
  ByteWriter out;
  codec.Encode(values, decoded, {.bytes = {}, .round = round}, RngStream(2), out);
  CHECK(out.size() <= codec.EncodedBytesMax());
  // Whoever decodes need not know the round.
  std::vector<float> again(values.size());
  codec.DecodeAdd(*Get(codec.Parse(out.bytes(), {}, {})), 0, 1.0F, again);
  CHECK(again == decoded);
  const auto zeros = static_cast<std::size_t>(std::ranges::count(decoded, 0.0F));
  return {values.size() - zeros, out.size()};
}

TEST_CASE("KeptShare: a warm-up falls exponentially from its first share to the last") {
  const KeptShare kept = ReadShare("top_k 0.1% warmup=4");
  // Lin et al. 2018: sparsity 75, 93.75, 98.4375, 99.6 and 99.9 %.
  const double expected[] = {0.25, 0.0629, 0.01581, 0.003976, 0.001, 0.001};
  for (std::uint64_t round = 1; round <= 6; ++round)
    CHECK(kept.AtRound(round) == doctest::Approx(expected[round - 1]).epsilon(1e-3));
  CHECK(kept.AtRound(1) == 0.25);
  CHECK(kept.AtRound(5) == 0.001);
  CHECK(kept.Largest() == 0.25);
}

TEST_CASE("KeptShare: an unknown round and a recipe without warm-up keep the share itself") {
  CHECK(ReadShare("top_k 1% warmup=30").AtRound(0) == 0.01);
  CHECK(ReadShare("top_k 1%").AtRound(1) == 0.01);
  CHECK(ReadShare("top_k 1%").Largest() == 0.01);
}

TEST_CASE("KeptShare: never rises from round to round and stays between its ends") {
  for (const char* recipe : {"top_k 0.001% warmup=10000", "top_k 1% warmup=1 from=100%",
                             "top_k 3% warmup=7 from=3%", "top_k 12.5% warmup=50 from=12.6%"}) {
    CAPTURE(recipe);
    const KeptShare kept = ReadShare(recipe);
    double before = kept.from;
    for (std::uint64_t round = 1; round <= kept.warmup + 2ULL; ++round) {
      const double share = kept.AtRound(round);
      CHECK(share <= before);
      CHECK(share >= kept.share);
      before = share;
    }
    CHECK(before == kept.share);
  }
}

TEST_CASE("KeptShare: counts round up and are at least one") {
  CHECK(KeptShare{.share = 0.01}.CountAtRound(0, 1) == 1);
  CHECK(KeptShare{.share = 0.01}.CountAtRound(1, 100) == 1);
  CHECK(KeptShare{.share = 0.01}.CountAtRound(9, 101) == 2);
  CHECK(KeptShare{.share = 1.0}.CountAtRound(1, 101) == 101);
  CHECK(ReadShare("top_k 1% warmup=4 from=50%").LargestCount(1001) == 501);
}

TEST_CASE("KeptShare: each chain after top_k keeps what the round asks for") {
  const std::vector<float> values = testing::NormalValues(20000, RngStream(1));
  for (const char* values_stage : {"", " | quantize 8", " | ternary | context", " | ternary | rice",
                                   " | quantize 4 | rans", " | fp16"}) {
    CAPTURE(values_stage);
    const std::string recipe = std::string("top_k 1% warmup=3 from=20%") + values_stage;
    const auto codec = MakeCodec(recipe, {100, 200});
    const KeptShare kept = ReadShare(recipe);
    std::size_t bytes_before = codec->EncodedBytesMax();
    for (const std::uint64_t round : {1ULL, 2ULL, 3ULL, 4ULL, 5ULL, 0ULL}) {
      CAPTURE(round);
      const RoundOfKept found = EncodeInRound(*codec, values, round);
      CHECK(found.kept == kept.CountAtRound(round, values.size()));
      CHECK(found.bytes <= bytes_before);
      if (round != 4) bytes_before = found.bytes;
    }
    // Once it is over the bytes are those of the recipe without one.
    const auto plain = MakeCodec(std::string("top_k 1%") + values_stage, {100, 200});
    CHECK(EncodeInRound(*codec, values, 4).bytes == EncodeInRound(*plain, values, 4).bytes);
  }
}

TEST_CASE("KeptShare: more than any round of a warm-up keeps is refused") {
  const std::vector<float> values = testing::NormalValues(1000, RngStream(1));
  const auto warm = MakeCodec("top_k 1% warmup=4 from=10% | quantize 8", {1000});
  const auto most = MakeCodec("top_k 10% | quantize 8", {1000});
  const auto more = MakeCodec("top_k 10.1% | quantize 8", {1000});
  CHECK(CodeOf(warm->Parse(testing::EncodeValues(*most, values, RngStream(2)).payload, {}, {})) ==
        ErrorCode::kOk);
  CHECK(CodeOf(warm->Parse(testing::EncodeValues(*more, values, RngStream(2)).payload, {}, {})) ==
        ErrorCode::kMalformed);
  CHECK(warm->EncodedBytesMax() == most->EncodedBytesMax());
}

TEST_CASE("KeptShare: impossible warm-ups are refused in words") {
  for (const char* recipe :
       {"top_k 1% warmup=0", "top_k 1% warmup=10001", "top_k 1% warmup=x", "top_k 1% warmup=-1",
        "top_k 1% from=25%", "top_k 1% warmup=4 from=25", "top_k 1% warmup=4 from=0%",
        "top_k 1% warmup=4 from=101%", "top_k 30% warmup=4", "top_k 5% warmup=4 from=4%",
        "top_k 1% cooldown=4", "threshold 3 warmup=4", "dead_zone 3 warmup=4"}) {
    CAPTURE(recipe);
    CHECK(CodeOf(BuildCodec(Get(ParseRecipe(recipe)), Shape{100})) == ErrorCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace fl
