#include "fl/simulations/app/progress.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace fl::sim {
namespace {

// printf into a string; each of our formats stays far below the buffer's size.
template <typename... Args>
std::string Print(const char* format, Args... arguments) {
  std::array<char, 128> buffer{};
  const int length = std::snprintf(buffer.data(), buffer.size(), format, arguments...);
  return {buffer.data(), static_cast<std::size_t>(std::clamp(length, 0, 127))};
}

std::string Bar(std::uint64_t done, std::uint64_t all) {
  constexpr std::uint64_t kWidth = 24;
  const std::uint64_t filled = all == 0 ? kWidth : std::min(kWidth, done * kWidth / all);
  return "[" + std::string(filled, '#') + std::string(kWidth - filled, '.') + "]";
}

}  // namespace

std::string FormatBytes(std::uint64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (bytes < 1000) return std::to_string(bytes) + " B";
  if (bytes < 1000000) return Print("%.1f kB", value * 1e-3);
  if (bytes < 1000000000) return Print("%.1f MB", value * 1e-6);
  return Print("%.2f GB", value * 1e-9);
}

std::string FormatSeconds(double seconds) {
  const long long all = std::max(0LL, std::llround(seconds));
  if (all < 3600) return Print("%lld:%02lld", all / 60, all % 60);
  return Print("%lld:%02lld:%02lld", all / 3600, all / 60 % 60, all % 60);
}

std::string FormatProgress(const ProgressRow& row, bool bar) {
  std::string line = bar ? Bar(row.round, row.rounds) + " " : "";
  line += "round " + std::to_string(row.round) + "/" + std::to_string(row.rounds);
  line += "  accepted " + std::to_string(row.accepted);
  if (row.accuracy >= 0) line += Print("  accuracy %.2f %%", 100 * row.accuracy);
  if (row.loss >= 0) line += Print("  loss %.4f", row.loss);
  line += "  up " + FormatBytes(row.bytes_up);
  if (!bar) return line + Print("  %.1f s", row.seconds);
  if (row.round == 0 || row.rounds < row.round) return line;
  const double rest = static_cast<double>(row.rounds - row.round) / static_cast<double>(row.round);
  return line + "  " + FormatSeconds(row.seconds * rest) + " left";
}

void Progress::Show(const ProgressRow& row) {
  std::string line = FormatProgress(row, terminal_);
  if (!terminal_) {
    out_ << line << '\n' << std::flush;
    return;
  }
  const std::size_t length = line.size();
  if (length < drawn_) line.append(drawn_ - length, ' ');
  drawn_ = length;
  out_ << '\r' << line << std::flush;
}

void Progress::Finish() {
  if (terminal_ && drawn_ > 0) out_ << '\n' << std::flush;
  drawn_ = 0;
}

}  // namespace fl::sim
