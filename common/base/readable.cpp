#include "fl/common/base/readable.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace fl {
namespace {

// printf into a string; each of our formats stays far below the buffer's size.
template <typename... Args>
std::string Print(const char* format, Args... arguments) {
  std::array<char, 64> buffer{};
  std::snprintf(buffer.data(), buffer.size(), format, arguments...);
  return buffer.data();
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
  const long long all = std::llround(std::clamp(seconds, 0.0, 1e12));
  if (all < 3600) return Print("%lld:%02lld", all / 60, all % 60);
  return Print("%lld:%02lld:%02lld", all / 3600, all / 60 % 60, all % 60);
}

std::string ProgressBar(std::uint64_t done, std::uint64_t all) {
  constexpr std::uint64_t kWidth = 24;
  const std::uint64_t filled = done >= all ? kWidth : done * kWidth / all;
  return "[" + std::string(filled, '#') + std::string(kWidth - filled, '.') + "]";
}

}  // namespace fl
