#include "fl/compression/recipe.h"

#include <doctest/doctest.h>

#include "fl/compression/glob.h"
#include "fl/tests/support/result.h"

namespace fl {
namespace {

Result<std::unique_ptr<Codec>> Build(std::string_view text, const Shape& shape) {
  FL_TRY(const Recipe recipe, ParseRecipe(text));
  return BuildCodec(recipe, shape);
}

TEST_CASE("ParseRecipe: stages with arguments and options") {
  const Recipe recipe =
      testing::Get(ParseRecipe("  low_rank 2 iterations=3|quantize 4 stochastic "));
  REQUIRE(recipe.stages.size() == 2);
  CHECK(recipe.stages[0].name == "low_rank");
  CHECK(recipe.stages[0].arguments == std::vector<std::string>{"2"});
  CHECK(recipe.stages[0].options.front() == std::pair<std::string, std::string>("iterations", "3"));
  CHECK(recipe.stages[1].arguments == std::vector<std::string>{"4", "stochastic"});
  CHECK(recipe.stages[1].column == 26);
  CHECK(ToText(recipe) == "low_rank 2 iterations=3 | quantize 4 stochastic");
}

TEST_CASE("ParseRecipe: + joins recipes and binds weaker than |") {
  const Recipe recipe = testing::Get(ParseRecipe("low_rank 2|fp16+top_k 1% | ternary +raw"));
  REQUIRE(recipe.stages.size() == 2);
  REQUIRE(recipe.rest.size() == 2);
  CHECK(recipe.stages[1].name == "fp16");
  CHECK(recipe.rest[0].stages[1].name == "ternary");
  CHECK(recipe.rest[0].stages[0].column == 16);
  CHECK(recipe.rest[1].stages[0].name == "raw");
  CHECK(ToText(recipe) == "low_rank 2 | fp16 + top_k 1% | ternary + raw");
  CHECK(StagesOf(recipe) == std::vector<std::uint8_t>{5, 2, 33, 4, 11, 33, 1});
}

TEST_CASE("ParseRecipe: malformed text is refused with its place") {
  for (const char* text : {"", " ", "|", "raw|", "| raw", "raw || raw", "top_k 1% |", "quantize =4",
                           "quantize per=", "Raw", "quantize 4;", "4=4", "raw +", "+ raw",
                           "raw + + raw", "raw | + raw", "quantize 8 per=a=b"}) {
    CAPTURE(text);
    const auto recipe = ParseRecipe(text);
    REQUIRE_FALSE(recipe.has_value());
    CHECK(recipe.error().code == ErrorCode::kInvalidArgument);
    CHECK(recipe.error().message.starts_with("at character "));
  }
  CHECK_FALSE(ParseRecipe(std::string(1001, 'a')).has_value());
}

TEST_CASE("BuildCodec: every chain of known stages is built") {
  for (const char* text : {"raw",
                           "raw | pack",
                           "fp16",
                           "quantize 8",
                           "quantize 1 stochastic asymmetric per=channel",
                           "top_k 1%",
                           "top_k 0.1% | raw",
                           "top_k 100% | quantize 4 | pack",
                           "low_rank 4",
                           "low_rank 2 basis=own | quantize 4",
                           "low_rank 2 | fp16 | pack",
                           "quantize 2 scale=shared",
                           "quantize 4 scale=shared range=0.01 stochastic",
                           "quantize 4 scale=own per=tensor",
                           "quantize 4 per=group:8 stochastic",
                           "dead_zone 4",
                           "dead_zone 0.3 zero=0.6 | rans",
                           "top_k 1% | ternary",
                           "top_k 1% | ternary | rice",
                           "top_k 1% | fp16 | rice",
                           "quantize step=2 stochastic | context",
                           "quantize 4 | rans",
                           "bf16",
                           "natural | pack",
                           "sign",
                           "lloyd 8",
                           "top_k 10% | lloyd 3",
                           "eden 0.05",
                           "eden 8 block=64 scale=nearest",
                           "hadamard 64 | quantize 4",
                           "shared_mask 10%",
                           "shared_mask 0.5% unbiased block=1 | quantize 8 scale=shared range=3",
                           "shared_mask 10% block=256 | dead_zone 2 | rans",
                           "announced 1%",
                           "announced 5% explore=10% | quantize 8 scale=shared range=3 stochastic",
                           "sketch 3x2 seed=9 | quantize 8 scale=shared range=3",
                           "hadamard 4096 seed=own | lloyd 2",
                           "hadamard 1024 seed=shared | quantize 4 scale=shared stochastic | pack",
                           "low_rank 1 | quantize step=2 + top_k 1% | ternary | context",
                           "sign + sign + raw",
                           "low_rank 2 | sign",
                           "low_rank energy=95% | quantize step=2 | context",
                           "low_rank energy=99.9% max=64 iterations=1",
                           "low_rank bytes=2KB max=3 | quantize 4",
                           "low_rank bytes=16B | quantize step=2",
                           "low_rank 2 | lloyd 3",
                           "low_rank 2 | natural | pack",
                           "low_rank 2 | bf16",
                           "low_rank 2 | eden 4",
                           "low_rank 2 | quantize 1",
                           "low_rank 2 | quantize 4 stochastic asymmetric",
                           "low_rank 2 | quantize 4 per=group:8",
                           "low_rank 2 basis=own",
                           "low_rank 3 basis=shared",
                           "low_rank 1 basis=shared | quantize step=2 | context",
                           "low_rank 2 basis=shared | quantize 4 stochastic | pack",
                           "low_rank 2 basis=shared | lloyd 3 + top_k 5% | ternary"}) {
    CAPTURE(text);
    CHECK(testing::Get(Build(text, {8, 4}))->count() == 32);
  }
}

struct Refused {
  const char* text;
  const char* reason;  // A piece of the message.
};

TEST_CASE("BuildCodec: an impossible chain is refused with its reason") {
  const std::vector<Refused> cases = {
      {"wavelet 5",
       "unknown stage; this version has raw, fp16, quantize, top_k, low_rank, tucker, pack"},
      {"quantize 8 | top_k 1%", "must come before quantize"},
      {"fp16 | low_rank 2", "must come before fp16"},
      {"top_k 1% | low_rank 2", "at most one stage of their kind"},
      {"quantize 8 | fp16", "at most one stage of their kind"},
      {"pack", "nothing to pack"},
      {"pack | raw", "packing comes last"},
      {"raw 1", "takes no arguments"},
      {"fp16 per=channel", "takes no arguments"},
      {"raw | pack 3", "takes no arguments"},
      {"quantize", "expected the bits"},
      {"quantize 0", "1 to 8"},
      {"quantize 9", "1 to 8"},
      {"quantize x", "1 to 8"},
      {"quantize 4 random", "expected stochastic or asymmetric"},
      {"quantize 4 per=row", "expected tensor, channel or group:N"},
      {"quantize 4 scale=mine", "expected own or shared"},
      {"quantize 4 step=1", "with step=: expected stochastic or nothing"},
      {"quantize 4 per=tensor per=channel", "given twice"},
      {"quantize 4 range=1", "range is for scale=shared"},
      {"quantize 4 scale=shared range=-1", "above 0"},
      {"quantize 4 scale=shared range=inf", "above 0"},
      {"quantize 4 scale=shared per=channel", "neither per=channel nor per=group nor asymmetric"},
      {"quantize 4 scale=shared asymmetric", "neither per=channel nor per=group nor asymmetric"},
      {"quantize 1 scale=shared", "at least 2 bits"},
      {"top_k", "expected the share"},
      {"top_k 1", "expected the share"},
      {"top_k 0%", "expected the share"},
      {"top_k 100.1%", "expected the share"},
      {"top_k nan%", "expected the share"},
      {"top_k 1% block=2", "unknown option"},
      {"top_k 1% | quantize 8 scale=shared",
       "top_k is chosen by each client, so it cannot be summed"},
      {"top_k 1% | quantize 8 per=channel", "without channels"},
      {"low_rank", "expected a rank"},
      {"low_rank 0", "expected a rank"},
      {"low_rank 65", "expected a rank"},
      {"low_rank 2 iterations=9", "expected 1 to 8"},
      {"low_rank 2 max=4", "expected one of a rank"},
      {"low_rank energy=95% bytes=2KB", "expected one of a rank"},
      {"low_rank 2 bytes=2KB", "expected one of a rank"},
      {"low_rank max=4", "1 to 64"},
      {"low_rank energy=95", "energy: expected a share"},
      {"low_rank energy=100%", "energy: expected a share"},
      {"low_rank energy=0%", "energy: expected a share"},
      {"low_rank energy=nan%", "energy: expected a share"},
      {"low_rank energy=95% max=0", "max: expected a rank"},
      {"low_rank energy=95% max=65", "max: expected a rank"},
      {"low_rank bytes=15", "16 bytes to 1GB"},
      {"low_rank bytes=2GB", "16 bytes to 1GB"},
      {"low_rank bytes=KB", "16 bytes to 1GB"},
      {"low_rank bytes=nan", "16 bytes to 1GB"},
      {"low_rank bytes=48", "one direction of this tensor takes 49 bytes"},
      {"low_rank 2 basis=mine", "basis: expected own or shared"},
      {"low_rank 4 basis=shared", "expected a rank below 4, the smaller side"},
      {"low_rank basis=shared", "expected a rank of 1 to 64"},
      {"low_rank energy=95% basis=shared", "energy= with basis=shared"},
      {"low_rank bytes=2KB basis=shared", "bytes= with basis=shared"},
      {"low_rank 2 max=3 basis=shared", "max= with basis=shared"},
      {"low_rank 2 iterations=2 basis=shared", "each round is half of one"},
      {"low_rank 2 basis=shared | quantize 4 scale=shared", "those of factors are not"},
      {"low_rank 2 basis=shared | quantize 4 per=channel", "each direction has a grid already"},
      {"low_rank 2 basis=shared | dead_zone 2", "cannot write factors: use quantize step=2"},
      {"low_rank 2 basis=shared | quantize 4 | rans", "all other factors are packed"},
      {"low_rank 2 | quantize 4 per=channel", "each direction has a grid already"},
      {"low_rank 2 | dead_zone 2", "cannot write factors: use quantize step=2"},
      {"low_rank 2 | ternary", "cannot write factors: use quantize step=2"},
      {"low_rank 2 | quantize 4 | rans", "all other factors are packed"},
      {"low_rank 2 | context", "all other factors are packed"},
      {"low_rank 2 | quantize step=2 | pack", "are coded by context"},
      {"low_rank 2 | quantize 4 scale=shared", "those of factors are not"},
      {"quantize 4 per=group:7", "group:8 to group:65536"},
      {"quantize 4 per=group:65537", "group:8 to group:65536"},
      {"quantize 4 per=group:", "group:8 to group:65536"},
      {"quantize 4 scale=shared per=group:8", "per=group"},
      {"sign 1", "takes no arguments"},
      {"bf16 | natural", "at most one stage of their kind"},
      {"lloyd", "expected the bits of a level"},
      {"lloyd 9", "expected the bits of a level"},
      {"lloyd 2.5", "expected the bits of a level"},
      {"eden", "expected the bits of a value"},
      {"eden 0.04", "expected the bits of a value"},
      {"eden 8.1", "expected the bits of a value"},
      {"eden nan", "expected the bits of a value"},
      {"eden 1 block=1000", "a power of two from 64 to 4096"},
      {"eden 1 scale=shared", "expected unbiased or nearest"},
      {"top_k 1% | eden 1", "not of a list of kept values"},
      {"hadamard | quantize 4", "expected the block"},
      {"threshold", "expected how many root mean squares"},
      {"threshold 0", "expected how many root mean squares"},
      {"threshold 101", "expected how many root mean squares"},
      {"threshold 3 | quantize 8 scale=shared", "cannot be summed"},
      {"hadamard 32 | quantize 4", "expected the block"},
      {"hadamard 8192 | quantize 4", "expected the block"},
      {"shared_mask", "above 0% and up to 100%, such as shared_mask 1%"},
      {"shared_mask 0%", "above 0% and up to 100%"},
      {"sketch", "expected ROWSxCOLUMNS"},
      {"sketch 5", "expected ROWSxCOLUMNS"},
      {"sketch 5x", "expected ROWSxCOLUMNS"},
      {"sketch 16x9", "1 to 15 rows"},
      {"sketch 5x2000000", "1 to 1048576 columns"},
      {"sketch 5x9 seed=-1", "seed: expected 0 to 4294967295"},
      {"sketch 3x2 | dead_zone 2", "expected raw, fp16, bf16 or quantize B"},
      {"sketch 3x2 + fp16", "cannot be joined by +"},
      {"sketch 15x1000000", "is not smaller than the"},
      {"announced", "above 0% and up to 100%, such as announced 1%"},
      {"announced 1% explore=0%", "explore: expected the share"},
      {"announced 1% explore=5", "explore: expected the share"},
      {"announced 1% unbiased", "above 0% and up to 100%"},
      {"shared_mask 10% biased", "expected unbiased or nothing"},
      {"shared_mask 10% block=0", "block: expected 1 to 65536"},
      {"shared_mask 10% block=65537", "block: expected 1 to 65536"},
      {"shared_mask 10% seed=1", "seed"},
      {"top_k 1% | shared_mask 10%", "at most one stage of their kind"},
      {"hadamard 1024", "a rotation alone saves nothing"},
      {"hadamard 1024 seed=mine | quantize 4", "expected own or shared"},
      {"hadamard 1024 | quantize 4 scale=shared", "use hadamard 1024 seed=shared"},
      {"hadamard 1024 | quantize 4 per=channel", "at least two axes"},
      {"raw + top_k 1%", "nothing is left out for what follows the +"},
      {"fp16 + raw | pack + sign", "nothing is left out for what follows the +"},
      {"sign + quantize 4 scale=shared", "recipes joined by + cannot be"},
      {"sign + quantize 9", "at character 8: quantize: expected the bits"},
      {"sign + pack", "nothing to pack"},
      {"sign + auto bytes=60KB", "cannot be joined by +"},
      {"auto bytes=60KB + sign", "cannot be joined by +"},
  };
  for (const Refused& each : cases) {
    CAPTURE(each.text);
    const auto codec = Build(each.text, {8, 4});
    REQUIRE_FALSE(codec.has_value());
    CHECK(codec.error().code == ErrorCode::kInvalidArgument);
    CHECK_MESSAGE(codec.error().message.find(each.reason) != std::string::npos,
                  codec.error().message);
  }
}

TEST_CASE("BuildCodec: a recipe without stages is refused") {
  CHECK(testing::CodeOf(BuildCodec(Recipe(), Shape{4})) == ErrorCode::kInvalidArgument);
}

TEST_CASE("BuildCodec: vectors have neither rank nor channels") {
  CHECK(Build("low_rank 2", {32}).error().message.find("found a vector of 32 values") !=
        std::string::npos);
  CHECK(Build("low_rank 2 basis=shared", {32}).error().message.find("found a vector of 32") !=
        std::string::npos);
  CHECK(Build("quantize 4 per=channel", {32}).error().message.find("at least two axes") !=
        std::string::npos);
}

TEST_CASE("BuildCodec: tucker is for convolution kernels, and sends numbers") {
  const auto refusal = [](const std::string& text, const Shape& shape) {
    CAPTURE(text);
    const auto codec = Build(text, shape);
    REQUIRE_FALSE(codec);
    return codec.error().message;
  };
  const auto says = [&](const std::string& text, const Shape& shape, std::string_view part) {
    CHECK(refusal(text, shape).find(part) != std::string::npos);
  };
  const Shape kernel{3, 3, 16, 16};
  for (const char* good : {"tucker 4 4", "tucker 2 3 | fp16", "tucker 2 3 | quantize 4 | pack",
                           "tucker 2 3 | lloyd 3", "tucker 2 3 | quantize 8 stochastic"}) {
    CAPTURE(good);
    CHECK(Build(good, kernel));
  }
  for (const char* ranks : {"tucker", "tucker 4", "tucker 4 4 4", "tucker 0 4", "tucker 4 65"})
    says(ranks, kernel, "expected two ranks of 1 to 64");
  says("tucker 4 4 iterations=3", kernel, "iterations");
  says("tucker 4 4", {144, 16}, "found a tensor with 2; give kernels a rule of their own");
  says("tucker 16 16", kernel, "its factors have 2816 values, the kernel itself 2304");
  says("tucker 4 4 | ternary", kernel, "its factors are numbers");
  says("tucker 4 4 | quantize step=2 | context", kernel, "its factors are numbers");
  says("tucker 4 4 | quantize 4 | rans", kernel, "its factors are numbers");
  says("tucker 4 4 | quantize 4 per=channel", kernel, "each factor has one grid");
}

TEST_CASE("KnownStages: ids are ascending and stay as they are") {
  CHECK(KnownStages() == std::vector<std::uint8_t>{1,  2,  3,  4,  5,  6,  7,  8,  9,
                                                   10, 11, 20, 21, 22, 23, 24, 25, 26,
                                                   27, 28, 29, 30, 31, 32, 33});
}

TEST_CASE("StagesOf: the ids of a recipe's stages in its order") {
  const Recipe recipe = testing::Get(ParseRecipe("hadamard 64 | quantize 4 | pack"));
  CHECK(StagesOf(recipe) == std::vector<std::uint8_t>{25, 3, 6});
}

TEST_CASE("IsLossless: only raw keeps every bit") {
  CHECK(IsLossless(testing::Get(ParseRecipe("raw | pack"))));
  CHECK_FALSE(IsLossless(testing::Get(ParseRecipe("fp16"))));
  CHECK_FALSE(IsLossless(testing::Get(ParseRecipe("raw + raw"))));
  CHECK_FALSE(IsLossless(testing::Get(ParseRecipe("top_k 100%"))));
}

TEST_CASE("GlobMatches: stars and question marks") {
  CHECK(GlobMatches("*", ""));
  CHECK(GlobMatches("*", "dense1.weight"));
  CHECK(GlobMatches("dense*.weight", "dense12.weight"));
  CHECK(GlobMatches("dense?.*", "dense1.bias"));
  CHECK(GlobMatches("*a*b", "aabab"));
  CHECK_FALSE(GlobMatches("dense?.*", "dense12.bias"));
  CHECK_FALSE(GlobMatches("dense", "dense1"));
  CHECK_FALSE(GlobMatches("", "a"));
  CHECK_FALSE(GlobMatches("?", ""));
}

}  // namespace
}  // namespace fl
