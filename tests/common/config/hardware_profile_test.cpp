#include "fl/common/config/hardware_profile.h"

#include <doctest/doctest.h>

#include "fl/tests/support/result.h"

namespace fl {
namespace {

HardwareProfile MakeProfile() {
  HardwareProfile profile;
  profile.instruction_set = "x86-64-v3";
  profile.integer_instruction_set = "avx2";
  profile.cache_bytes = {32768, 1048576};
  profile.fp32_gflops = 40.5;
  profile.int8_gops = 120;
  profile.memory_gbps = 8.25;
  profile.operators = {{"conv 16 3x3 same", {16, 16, 16}, 589824, 30.5, 12.25},
                       {"dense 10", {128}, 1280, 0.5, 0}};
  return profile;
}

TEST_CASE("ParseProfile: reads what ProfileToToml writes") {
  const HardwareProfile profile = MakeProfile();
  const auto read = testing::Get(ParseProfile(ProfileToToml(profile), "d.toml"));
  CHECK(read.instruction_set == profile.instruction_set);
  CHECK(read.types == profile.types);
  CHECK(read.cache_bytes == profile.cache_bytes);
  CHECK(read.channel_multiple == 8);
  CHECK(read.fp32_gflops == 40.5);
  CHECK(read.memory_gbps == 8.25);
  REQUIRE(read.operators.size() == 2);
  CHECK(read.operators[0].layer == "conv 16 3x3 same");
  CHECK(read.operators[0].input == std::vector<std::size_t>{16, 16, 16});
  CHECK(read.operators[0].multiply_accumulates == 589824);
  CHECK(read.operators[0].int8_us == 12.25);
  CHECK(read.operators[1].int8_us == 0);
}

// The profile's text with one piece replaced; the refusal, or nothing.
std::string RefusalWith(const std::string& piece, const std::string& other) {
  std::string text = ProfileToToml(MakeProfile());
  const std::size_t at = text.find(piece);
  REQUIRE(at != std::string::npos);
  text.replace(at, piece.size(), other);
  const auto profile = ParseProfile(text, "d.toml");
  return profile ? std::string() : profile.error().message;
}

TEST_CASE("ParseProfile: what cannot be measured is refused with its place") {
  CHECK(RefusalWith("version = 1", "version = 2").starts_with("d.toml:1:"));
  CHECK(RefusalWith("memory_gbps = 8.25", "").find("memory_gbps") != std::string::npos);
  CHECK_FALSE(RefusalWith("fp32_gflops = 40.5", "fp32_gflops = -1").empty());
  CHECK_FALSE(RefusalWith("fp32_gflops = 40.5", "fp32_gflops = nan").empty());
  CHECK_FALSE(RefusalWith("fp32_us = 30.5", "fp32_us = 0").empty());
  CHECK_FALSE(RefusalWith("input = [16, 16, 16]", "input = [0]").empty());
  CHECK_FALSE(RefusalWith("layer = \"dense 10\"", "").empty());
  CHECK(RefusalWith("channel_multiple", "channels").find("channels") != std::string::npos);
  HardwareProfile empty = MakeProfile();
  empty.operators.clear();
  CHECK_FALSE(ParseProfile(ProfileToToml(empty), "d.toml").has_value());
}

}  // namespace
}  // namespace fl
