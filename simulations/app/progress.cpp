#include "fl/simulations/app/progress.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "fl/common/base/readable.h"

namespace fl::sim {
namespace {

// printf into a string; each of our formats stays far below the buffer's size.
template <typename... Args>
std::string Print(const char* format, Args... arguments) {
  std::array<char, 128> buffer{};
  const int length = std::snprintf(buffer.data(), buffer.size(), format, arguments...);
  return {buffer.data(), static_cast<std::size_t>(std::clamp(length, 0, 127))};
}

}  // namespace

std::string FormatProgress(const ProgressRow& row, bool bar) {
  std::string line = bar ? ProgressBar(row.round, row.rounds) + " " : "";
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
