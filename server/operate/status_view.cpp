#include "fl/server/operate/status_view.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>

#include <nlohmann/json.hpp>

#include "fl/common/base/readable.h"

namespace fl::server {
namespace {

using Json = nlohmann::json;

std::string Text(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string Percent(double share) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f", 100 * share);
  return text.data();
}

std::string Row(std::string_view name, const std::string& value) {
  std::string row(name);
  row.resize(14, ' ');
  return row + value + "\n";
}

// "3: 2 malformed, 1 too_late"; "none".
std::string Refused(const Json& refused) {
  std::uint64_t total = 0;
  std::string by_code;
  for (const auto& [code, count] : refused.items()) {
    total += count.get<std::uint64_t>();
    (by_code += by_code.empty() ? "" : ", ") += count.dump() + " " + code;
  }
  return total == 0                               ? "none"
         : by_code.find(',') == std::string::npos ? by_code
                                                  : std::to_string(total) + ": " + by_code;
}

// Of the rounds that were measured, the oldest first: "41.2  63.0  71.5 %".
std::string Trend(const Json& accuracy) {
  std::string trend;
  for (const Json& point : accuracy) {
    (trend += trend.empty() ? "" : "  ") += Percent(point.at("accuracy").get<double>());
  }
  if (trend.empty()) return "not measured yet";
  return trend + " % after round " + Text(accuracy.back().at("round"));
}

std::string TimeLeft(const Json& left_s) {
  if (left_s.is_null()) return "";
  const double left = left_s.get<double>();
  return left > 0 ? ", " + FormatSeconds(left) + " left" : ", time is over";
}

std::string NextCheckIn(const Json& seconds) {
  if (seconds.is_null()) return "none expected";
  return seconds.get<double>() < 1 ? "now" : "in " + FormatSeconds(seconds.get<double>());
}

std::string UpdatesOf(const Json& round) {
  return Text(round.at("accepted")) + " of " + Text(round.at("wanted")) + " updates";
}

std::string PhaseOf(const Json& round) {
  const std::string phase = Text(round.at("phase"));
  return phase == "collect" ? "" : " (" + phase + ")";
}

std::string RoundLines(const Json& round) {
  if (round.is_null()) return Row("round", "none yet");
  const std::string asked = Text(round.at("cohort"));
  const std::string state = Text(round.at("state"));
  std::string lines = Row("round " + Text(round.at("number")),
                          state + PhaseOf(round) + TimeLeft(round.at("left_s")));
  if (state == "selecting") return lines;
  lines += Row("", ProgressBar(round.at("accepted").get<std::uint64_t>(),
                               round.at("wanted").get<std::uint64_t>()) +
                       " " + UpdatesOf(round) + ", " + asked + " asked");
  lines += Row("refused", Refused(round.at("refused")));
  lines += Row("bytes", "up " + FormatBytes(round.at("bytes_up").get<std::uint64_t>()) + ", down " +
                            FormatBytes(round.at("bytes_down").get<std::uint64_t>()));
  return lines;
}

// A failure of a minute ago is over: devices come back every few seconds, and something is stored.
bool FailsToStore(const Json& status) {
  constexpr double kRecentSeconds = 60;
  const Json failure = status.value("storage_failure", Json());
  return !failure.is_null() && failure.at("ago_s").get<double>() < kRecentSeconds;
}

StatusView View(const Json& status) {
  const std::string state = Text(status.at("state"));
  const std::string published =
      Text(status.at("published")) + " of " + Text(status.at("rounds")) + " rounds published";
  const Json& round = status.at("round");
  StatusView view;
  view.over = state == "done" || state == "stopped";
  const bool one = status.at("clients") == 1;
  std::string clients = Text(status.at("clients")) + (one ? " device known" : " devices known");
  if (status.at("clients") < status.at("population_min")) {
    clients += ", begins with " + Text(status.at("population_min"));
  }
  view.lines = Row(Text(status.at("federation")), state + ", " + published + ", " + clients);
  if (FailsToStore(status)) {
    const Json& failure = status.at("storage_failure");
    view.lines += Row("storage", "failed " + FormatSeconds(failure.at("ago_s").get<double>()) +
                                     " ago: " + Text(failure.at("message")));
  }
  view.lines += RoundLines(round);
  view.lines += Row("accuracy", Trend(status.at("accuracy")));
  if (!view.over) view.lines += Row("next check-in", NextCheckIn(status.at("next_check_in_s")));
  view.summary = Text(status.at("federation")) + ": " + state + ", " + published + ", " + clients;
  if (FailsToStore(status)) view.summary += "; the storage fails";
  if (!round.is_null()) {
    view.summary += "; round " + Text(round.at("number")) + " " + Text(round.at("state")) +
                    PhaseOf(round) + ", " + UpdatesOf(round) + ", refused " +
                    Refused(round.at("refused"));
  }
  if (!status.at("accuracy").empty()) {
    const Json& last = status.at("accuracy").back();
    view.summary += "; accuracy " + Percent(last.at("accuracy").get<double>()) + " % after round " +
                    Text(last.at("round"));
  }
  return view;
}

// A code point a column.
std::string_view FirstColumns(std::string_view text, std::size_t columns) {
  const auto begins = [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; };
  std::size_t end = 0;
  for (std::size_t seen = 0; end < text.size(); ++end) {
    if (begins(text[end]) && ++seen > columns) break;
  }
  return text.substr(0, end);
}

}  // namespace

Result<StatusView> ViewStatus(std::string_view json) {
  try {
    return View(Json::parse(json));
  } catch (const Json::exception& error) {
    return Error{ErrorCode::kMalformed,
                 std::string("the server's status: expected its JSON, found: ") + error.what()};
  }
}

void StatusWatch::Show(const StatusView& view, std::int64_t now_us) {
  if (const std::size_t columns = columns_()) return Draw(view.lines, columns);
  Write(view.summary, now_us);
}

void StatusWatch::ShowProblem(const std::string& problem, std::int64_t now_us) {
  if (const std::size_t columns = columns_()) return Draw(problem + "\n", columns);
  Write(problem, now_us);
}

// Over what was drawn before: the cursor goes up, what is below it is cleared. A line that the
// terminal would break in two is cut, so that there are as many as the cursor goes up.
void StatusWatch::Draw(std::string_view lines, std::size_t columns) {
  if (drawn_ > 0) out_ << "\x1b[" << drawn_ << "A\r\x1b[J";
  drawn_ = 0;
  while (!lines.empty()) {
    const std::string_view line = lines.substr(0, lines.find('\n'));
    lines.remove_prefix(std::min(line.size() + 1, lines.size()));
    out_ << FirstColumns(line, columns) << '\n';
    ++drawn_;
  }
  out_ << std::flush;
}

void StatusWatch::Write(const std::string& line, std::int64_t now_us) {
  if (line == written_) return;
  written_ = line;
  const auto seconds = static_cast<std::time_t>(now_us / 1000000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 40> time{};
  std::strftime(time.data(), time.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  out_ << time.data() << " " << line << std::endl;
}

}  // namespace fl::server
