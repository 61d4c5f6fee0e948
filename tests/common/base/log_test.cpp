#include "fl/common/base/log.h"

#include <limits>

#include <doctest/doctest.h>

namespace fl::testing {
namespace {

constexpr std::int64_t kTime = 1700000000123456;  // 2023-11-14, 22:13:20.123456 UTC.
const LogScope kScope{.federation = "digits", .round = 3, .client = "device-0001"};

}  // namespace

TEST_CASE("Log: a text line has time and level and scope and message") {
  CHECK(FormatLogLine(LogFormat::kText, kTime, LogLevel::kInfo, kScope, "update accepted") ==
        "2023-11-14T22:13:20.123Z info digits round 3 device-0001: update accepted");
  CHECK(FormatLogLine(LogFormat::kText, kTime, LogLevel::kError, {}, "no") ==
        "2023-11-14T22:13:20.123Z error: no");
}

TEST_CASE("Log: a JSON line has the same as fields") {
  CHECK(
      FormatLogLine(LogFormat::kJson, kTime, LogLevel::kWarning, kScope, "slow") ==
      R"({"time":"2023-11-14T22:13:20.123Z","level":"warning","federation":"digits","round":3,"client":"device-0001","message":"slow"})");
  CHECK(FormatLogLine(LogFormat::kJson, kTime, LogLevel::kDebug, {}, "") ==
        R"({"time":"2023-11-14T22:13:20.123Z","level":"debug","message":""})");
}

TEST_CASE("Log: a JSON line has an event's name and fields, a text line its words") {
  const LogEvent event{"round",
                       {{"state", "published"},
                        {"accepted", std::uint64_t{4}},
                        {"seconds", 1.5},
                        {"loss", std::numeric_limits<double>::infinity()}}};
  CHECK(
      FormatLogLine(LogFormat::kJson, kTime, LogLevel::kInfo, kScope, "over", event) ==
      R"({"time":"2023-11-14T22:13:20.123Z","level":"info","federation":"digits","round":3,"client":"device-0001","event":"round","state":"published","accepted":4,"seconds":1.5,"loss":null,"message":"over"})");
  CHECK(FormatLogLine(LogFormat::kText, kTime, LogLevel::kInfo, kScope, "over", event) ==
        "2023-11-14T22:13:20.123Z info digits round 3 device-0001: over");
}

TEST_CASE("Log: what a peer sent cannot break out of its line") {
  const std::string hostile = "a\nb\x1b[31m\"\\\x7f";
  CHECK(FormatLogLine(LogFormat::kText, kTime, LogLevel::kInfo, {}, hostile)
            .ends_with(R"(: a\u000ab\u001b[31m\"\\\u007f)"));
  CHECK(FormatLogLine(LogFormat::kJson, kTime, LogLevel::kInfo, {}, hostile)
            .ends_with(R"("message":"a\u000ab\u001b[31m\"\\\u007f"})"));
}

TEST_CASE("Log: levels and formats are read by their names only") {
  CHECK(ParseLogLevel("debug") == LogLevel::kDebug);
  CHECK(ParseLogLevel("off") == LogLevel::kOff);
  CHECK(!ParseLogLevel("Info"));
  CHECK(ParseLogFormat("json") == LogFormat::kJson);
  CHECK(ParseLogFormat("text") == LogFormat::kText);
  CHECK(!ParseLogFormat(""));
}

TEST_CASE("Logger: writes from its level on") {
  const Logger logger(LogLevel::kWarning);
  CHECK(!logger.enabled(LogLevel::kInfo));
  CHECK(logger.enabled(LogLevel::kWarning));
  CHECK(logger.enabled(LogLevel::kError));
}

}  // namespace fl::testing
