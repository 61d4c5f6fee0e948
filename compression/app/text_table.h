#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fl::codec_app {

enum class Align : std::uint8_t { kLeft, kRight };

// Rows of text in columns as wide as their widest cell, two spaces apart; nothing at a line's end.
class TextTable {
 public:
  explicit TextTable(std::vector<Align> columns) : columns_(std::move(columns)) {}

  // As many cells as columns; UTF-8, each code point one place wide.
  void AddRow(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  std::string Draw() const;

 private:
  std::vector<Align> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// "1,234,567".
std::string FormatCount(std::uint64_t count);
// printf's %.*f.
std::string FormatFixed(double value, int digits);
// Three significant digits: "0.354", "8.31e-05".
std::string FormatError(double value);
// Blocks for a share in [0, 1] of `width` places, to an eighth of a place; any share above 0 shows.
std::string DrawBar(double share, std::size_t width);

}  // namespace fl::codec_app
