#include "fl/common/base/log.h"

#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
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

void AppendJsonField(std::string& line, const LogField& field) {
  if (const auto* text = std::get_if<std::string>(&field.value)) {
    return AppendJsonField(line, field.name, *text);
  }
  (((line += ",\"") += field.name) += "\":");
  if (const auto* count = std::get_if<std::uint64_t>(&field.value)) {
    line += std::to_string(*count);
    return;
  }
  const double number = std::get<double>(field.value);
  std::array<char, 32> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  // JSON has no word for infinity.
  line += std::isfinite(number) ? std::string_view(digits.data(), end) : "null";
}

}  // namespace

std::string FormatLogLine(LogFormat format, std::int64_t time_us, LogLevel level,
                          const LogScope& scope, std::string_view message, const LogEvent& event) {
  const std::string_view name = kLevelNames[static_cast<std::size_t>(level)];
  std::string line;
  if (format == LogFormat::kJson) {
    line = "{\"time\":\"" + Timestamp(time_us) + "\"";
    AppendJsonField(line, "level", name);
    if (!scope.federation.empty()) AppendJsonField(line, "federation", scope.federation);
    if (scope.round) line += ",\"round\":" + std::to_string(*scope.round);
    if (!scope.client.empty()) AppendJsonField(line, "client", scope.client);
    if (!event.name.empty()) AppendJsonField(line, "event", event.name);
    for (const LogField& field : event.fields) AppendJsonField(line, field);
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

void Logger::Write(LogLevel level, const LogScope& scope, std::string_view message,
                   const LogEvent& event) const {
  if (!enabled(level)) return;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const std::string line =
      FormatLogLine(format_, std::chrono::duration_cast<std::chrono::microseconds>(now).count(),
                    level, scope, message, event) +
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
