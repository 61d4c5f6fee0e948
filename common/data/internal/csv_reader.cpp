#include "fl/common/data/internal/csv_reader.h"

namespace fl::data::internal {

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\r";
  const std::size_t first = text.find_first_not_of(kSpaces);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpaces) - first + 1);
}

CsvReader::CsvReader(std::string_view text, const DataLimits& limits)
    : text_(text), limits_(limits) {
  if (text_.starts_with("\xEF\xBB\xBF")) text_.remove_prefix(3);
}

Error CsvReader::Malformed(std::string_view why) const {
  return {ErrorCode::kMalformed, "line " + std::to_string(row_line_) + ": " + std::string(why)};
}

void CsvReader::SkipEmptyLines() {
  while (position_ < text_.size() && (text_[position_] == '\n' || text_[position_] == '\r')) {
    if (text_[position_++] == '\n') ++line_;
  }
}

Result<bool> CsvReader::Next(std::vector<std::string>& fields) {
  SkipEmptyLines();
  row_line_ = line_;
  std::size_t count = 0;
  if (position_ == text_.size()) return false;
  while (true) {
    if (count == limits_.columns_max) {
      return Error{ErrorCode::kLimitExceeded, "line " + std::to_string(row_line_) + ": more than " +
                                                  std::to_string(limits_.columns_max) + " columns"};
    }
    if (fields.size() == count) fields.emplace_back();
    FL_TRY_OK(ReadField(fields[count++]));
    if (AtLineEnd()) break;
    ++position_;  // The comma.
  }
  fields.resize(count);
  if (position_ < text_.size()) {
    ++position_;
    ++line_;
  }
  return true;
}

Result<> CsvReader::ReadField(std::string& field) {
  const std::size_t start = position_;
  while (position_ < text_.size() && (text_[position_] == ' ' || text_[position_] == '\t'))
    ++position_;
  if (position_ < text_.size() && text_[position_] == '"') return ReadQuoted(field);
  while (!AtLineEnd() && text_[position_] != ',') {
    if (text_[position_] == '"') return Malformed("expected a quote only around a whole field");
    ++position_;
  }
  if (position_ - start > limits_.field_bytes_max) {
    return Error{ErrorCode::kLimitExceeded,
                 "line " + std::to_string(row_line_) + ": a field is longer than accepted"};
  }
  field = Trim(text_.substr(start, position_ - start));
  return {};
}

Result<> CsvReader::ReadQuoted(std::string& field) {
  field.clear();
  ++position_;
  while (true) {
    if (position_ == text_.size()) return Malformed("expected a closing quote");
    const char c = text_[position_++];
    if (c == '"') {
      if (position_ == text_.size() || text_[position_] != '"') break;
      ++position_;
    }
    if (c == '\n') ++line_;
    field += c;
    if (field.size() > limits_.field_bytes_max) {
      return Error{ErrorCode::kLimitExceeded,
                   "line " + std::to_string(row_line_) + ": a field is longer than accepted"};
    }
  }
  while (!AtLineEnd() && text_[position_] != ',') {
    if (Trim(text_.substr(position_, 1)) != "")
      return Malformed("expected a comma after the closing quote");
    ++position_;
  }
  return {};
}

}  // namespace fl::data::internal
