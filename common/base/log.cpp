#include "fl/common/base/log.h"

#include <array>
#include <chrono>
#include <cstdio>
#include <ctime>

namespace fl {
namespace {

constexpr std::array<std::string_view, 5> kLevelNames = {"debug", "info", "warning", "error",
                                                         "off"};

std::string Timestamp(std::int64_t time_us) {
  const auto seconds = static_cast<std::time_t>(time_us / 1000000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 40> text{};
  const std::size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::array<char, 16> fraction{};
  std::snprintf(fraction.data(), fraction.size(), ".%03dZ",
                static_cast<int>(time_us / 1000 % 1000));
  return std::string(text.data(), length) + fraction.data();
}

// Control characters as \u00XX, quotes and backslashes escaped: valid inside a JSON string,
// harmless in a terminal.
void AppendEscaped(std::string& line, std::string_view text) {
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (code < 0x20 || code == 0x7F) {
      std::array<char, 8> escape{};
      std::snprintf(escape.data(), escape.size(), "\\u%04x", code);
      line += escape.data();
    } else {
      if (c == '"' || c == '\\') line += '\\';
      line += c;
    }
  }
}

void AppendJsonField(std::string& line, std::string_view name, std::string_view value) {
  line += ",\"";
  line += name;
  line += "\":\"";
  AppendEscaped(line, value);
  line += '"';
}

}  // namespace

std::string FormatLogLine(LogFormat format, std::int64_t time_us, LogLevel level,
                          const LogScope& scope, std::string_view message) {
  const std::string_view name = kLevelNames[static_cast<std::size_t>(level)];
  std::string line;
  if (format == LogFormat::kJson) {
    line = "{\"time\":\"" + Timestamp(time_us) + "\"";
    AppendJsonField(line, "level", name);
    if (!scope.federation.empty()) AppendJsonField(line, "federation", scope.federation);
    if (scope.round) line += ",\"round\":" + std::to_string(*scope.round);
    if (!scope.client.empty()) AppendJsonField(line, "client", scope.client);
    AppendJsonField(line, "message", message);
    return line + "}";
  }
  line = Timestamp(time_us) + " ";
  line += name;
  if (!scope.federation.empty()) (line += " ") += scope.federation;
  if (scope.round) line += " round " + std::to_string(*scope.round);
  if (!scope.client.empty()) AppendEscaped(line += " ", scope.client);
  line += ": ";
  AppendEscaped(line, message);
  return line;
}

void Logger::Write(LogLevel level, const LogScope& scope, std::string_view message) const {
  if (!enabled(level)) return;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const std::string line =
      FormatLogLine(format_, std::chrono::duration_cast<std::chrono::microseconds>(now).count(),
                    level, scope, message) +
      "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

std::optional<LogLevel> ParseLogLevel(std::string_view text) {
  for (std::size_t i = 0; i < kLevelNames.size(); ++i) {
    if (text == kLevelNames[i]) return static_cast<LogLevel>(i);
  }
  return std::nullopt;
}

std::optional<LogFormat> ParseLogFormat(std::string_view text) {
  if (text == "text") return LogFormat::kText;
  if (text == "json") return LogFormat::kJson;
  return std::nullopt;
}

}  // namespace fl
