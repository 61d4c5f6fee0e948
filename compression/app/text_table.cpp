#include "fl/compression/app/text_table.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "fl/common/base/check.h"

namespace fl::codec_app {
namespace {

// Bytes that begin a code point.
std::size_t WidthOf(const std::string& text) {
  return static_cast<std::size_t>(std::ranges::count_if(
      text, [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U; }));
}

std::string Print(const char* format, int digits, double value) {
  std::array<char, 64> buffer{};
  std::snprintf(buffer.data(), buffer.size(), format, digits, value);
  return buffer.data();
}

}  // namespace

std::string TextTable::Draw() const {
  std::vector<std::size_t> widths(columns_.size());
  for (const auto& row : rows_) {
    FL_CHECK(row.size() == columns_.size(), "a row has a cell for each column");
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], WidthOf(row[i]));
  }
  std::string text;
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::size_t padding = widths[i] - WidthOf(row[i]);
      if (i > 0) line.append(2, ' ');
      if (columns_[i] == Align::kRight) line.append(padding, ' ');
      line.append(row[i]);
      if (columns_[i] == Align::kLeft) line.append(padding, ' ');
    }
    line.resize(line.find_last_not_of(' ') + 1);
    text.append(line).append("\n");
  }
  return text;
}

std::string FormatCount(std::uint64_t count) {
  std::string digits = std::to_string(count);
  for (std::size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, 1, ',');
  return digits;
}

std::string FormatFixed(double value, int digits) {
  return Print("%.*f", digits, value);
}

std::string FormatError(double value) {
  return Print("%.*g", 3, value);
}

std::string DrawBar(double share, std::size_t width) {
  static constexpr std::array<const char*, 8> kEighths = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const double places = std::clamp(share, 0.0, 1.0) * static_cast<double>(width);
  auto eighths = static_cast<std::size_t>(std::lround(8 * places));
  if (share > 0) eighths = std::max<std::size_t>(eighths, 1);
  std::string bar;
  for (std::size_t i = 0; i < eighths / 8; ++i) bar += "█";
  return bar + kEighths.at(eighths % 8);
}

}  // namespace fl::codec_app
