#include "fl/common/config/pass_file.h"

#include <doctest/doctest.h>

#include "fl/tests/support/result.h"

namespace fl {
namespace {

constexpr std::string_view kText =
    "[deployment]\nversion = 1\nbytes_max = 500\n\n"
    "[[deployment.pass]]\npass = \"distil\"\nepochs = 3\n\n"
    "[[deployment.pass]]\npass = \"verify\"\n";

TEST_CASE("ParsePassFile: a pass list stands alone, as in a plan") {
  const auto deployment = testing::Get(ParsePassFile(kText, "p.toml"));
  CHECK(deployment.bytes_max == 500);
  REQUIRE(deployment.passes.size() == 2);
  CHECK(deployment.passes[0].name.text == "distil");
  CHECK(deployment.passes[0].fields[0].location.line == 7);
}

TEST_CASE("ParsePassFile: what is no pass list is refused with its place") {
  const auto refusal = [](std::string_view text) {
    const auto parsed = ParsePassFile(text, "p.toml");
    return parsed ? std::string() : parsed.error().message;
  };
  CHECK(refusal("[deployment]\nversion = 2\n").starts_with("p.toml:2:"));
  CHECK(refusal("[deployment]\nversion = 1\n").find("at least one") != std::string::npos);
  CHECK(refusal("[model]\ninput = [1]\n").starts_with("p.toml:1:"));
  CHECK(refusal("[[deployment.pass]]\nepochs = 1\n").find("the pass's name") != std::string::npos);
  CHECK(refusal("[deployment").starts_with("p.toml:1:"));
}

TEST_CASE("PassFileToToml: what is written is read again, to the last bit") {
  auto deployment = testing::Get(ParsePassFile(kText, "p.toml"));
  deployment.drop_points_max = 0.1 + 0.2;
  deployment.passes[0].fields = {{"rate", 1.0 / 3, {}},
                                 {"whole", 2.0, {}},
                                 {"tiny", 1e-300, {}},
                                 {"count", std::int64_t{-7}, {}},
                                 {"flag", true, {}},
                                 {"text", std::string("a \"b\" \\ c\nd \x01"), {}},
                                 {"texts", std::vector<std::string>{"dense 10", "relu"}, {}}};
  const auto read = testing::Get(ParsePassFile(PassFileToToml(deployment), "p.toml"));
  CHECK(read.drop_points_max == deployment.drop_points_max);
  CHECK(read.bytes_max == deployment.bytes_max);
  REQUIRE(read.passes.size() == 2);
  REQUIRE(read.passes[0].fields.size() == 7);
  for (std::size_t i = 0; i < 7; ++i) {
    CHECK(read.passes[0].fields[i].key == deployment.passes[0].fields[i].key);
    CHECK(read.passes[0].fields[i].value == deployment.passes[0].fields[i].value);
  }
}

TEST_CASE("OverridePasses: settings replace keys, add keys, and move the gate") {
  auto deployment = testing::Get(ParsePassFile(kText, "p.toml"));
  REQUIRE(
      OverridePasses({"distil.epochs=9", "distil.observer=mse", "bytes_max=70", "distil.alpha=0.5"},
                     deployment)
          .has_value());
  const auto& fields = deployment.passes[0].fields;
  REQUIRE(fields.size() == 3);
  CHECK(std::get<std::int64_t>(fields[0].value) == 9);
  CHECK(std::get<std::string>(fields[1].value) == "mse");
  CHECK(std::get<double>(fields[2].value) == 0.5);
  CHECK(fields[2].location == deployment.passes[0].name.location);
  CHECK(deployment.bytes_max == 70);
}

TEST_CASE("OverridePasses: settings that cannot be meant are refused by name") {
  const auto refusal = [](const std::string& setting) {
    auto deployment = testing::Get(ParsePassFile(kText, "p.toml"));
    const auto applied = OverridePasses({setting}, deployment);
    return applied ? std::string() : applied.error().message;
  };
  CHECK(refusal("prune.keep=1") == "setting 'prune.keep=1': the list has no pass \"prune\"");
  CHECK(refusal("epochs").find("KEY=VALUE") != std::string::npos);
  CHECK(refusal("=3").find("KEY=VALUE") != std::string::npos);
  CHECK_FALSE(refusal("bytes_max=-1").empty());
  CHECK_FALSE(refusal("speed=1").empty());
}

}  // namespace
}  // namespace fl
