#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace fl {

enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarning, kError, kOff };
enum class LogFormat : std::uint8_t { kText, kJson };

// Where a log line belongs; empty or absent parts are left out.
struct LogScope {
  std::string federation;
  std::optional<std::uint64_t> round;
  std::string client;
};

// What happened, for programs that read the log: a name and fields that stay as they are named
// (docs/operations.md lists them). JSON lines have them beside the message; text lines say it in
// words alone.
struct LogField {
  std::string_view name;
  std::variant<std::uint64_t, double, std::string> value;
};
struct LogEvent {
  std::string_view name;  // Empty: none.
  std::vector<LogField> fields;
};

// Writes lines to standard error: time (UTC), level, federation, round, client, event, message.
// What came from a peer is escaped. Never payloads or keys. Thread safety: shared objects safe.
class Logger {
 public:
  explicit Logger(LogLevel level = LogLevel::kInfo, LogFormat format = LogFormat::kText)
      : level_(level), format_(format) {}

  bool enabled(LogLevel level) const { return level >= level_; }
  void Write(LogLevel level, const LogScope& scope, std::string_view message,
             const LogEvent& event = {}) const;
  void Debug(const LogScope& scope, std::string_view message) const {
    Write(LogLevel::kDebug, scope, message);
  }
  void Info(const LogScope& scope, std::string_view message) const {
    Write(LogLevel::kInfo, scope, message);
  }
  void Warning(const LogScope& scope, std::string_view message) const {
    Write(LogLevel::kWarning, scope, message);
  }
  void Error(const LogScope& scope, std::string_view message) const {
    Write(LogLevel::kError, scope, message);
  }

 private:
  LogLevel level_;
  LogFormat format_;
};

// "debug", "info", "warning", "error", "off"; "text", "json". Empty for anything else.
std::optional<LogLevel> ParseLogLevel(std::string_view text);
std::optional<LogFormat> ParseLogFormat(std::string_view text);

// The line that Write prints, without its line feed; `time_us` since the Unix epoch.
std::string FormatLogLine(LogFormat format, std::int64_t time_us, LogLevel level,
                          const LogScope& scope, std::string_view message,
                          const LogEvent& event = {});

}  // namespace fl
