#include "fl/compression/deploy/fields.h"

#include <algorithm>
#include <cmath>

namespace fl::deploy {
namespace {

std::string ToText(double value) {
  std::string text = std::to_string(value);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.ends_with('.')) text.pop_back();
  return text;
}

}  // namespace

Error Refuse(const Location& location, const std::string& message, ErrorCode code) {
  return {code,
          std::to_string(location.line) + ":" + std::to_string(location.column) + ": " + message};
}

const PassConfig::Field* Fields::Take(std::string_view key) {
  known_.emplace_back(key);
  const auto found = std::ranges::find(pass_.fields, key, &PassConfig::Field::key);
  return found == pass_.fields.end() ? nullptr : &*found;
}

Location Fields::PlaceOf(std::string_view key) const {
  const auto found = std::ranges::find(pass_.fields, key, &PassConfig::Field::key);
  return found == pass_.fields.end() ? pass_.name.location : found->location;
}

Error Fields::Fail(std::string_view key, const std::string& message, ErrorCode code) const {
  return Refuse(PlaceOf(key), pass_.name.text + "." + std::string(key) + ": " + message, code);
}

void Fields::Remember(std::string_view key, const std::string& message) {
  if (!error_) error_ = Fail(key, message);
}

std::optional<double> Fields::ReadNumber(std::string_view key, const Bounds& bounds) {
  const PassConfig::Field* field = Take(key);
  if (field == nullptr) return std::nullopt;
  const auto* integer = std::get_if<std::int64_t>(&field->value);
  const auto* real = std::get_if<double>(&field->value);
  const double value = integer != nullptr ? static_cast<double>(*integer)
                       : real != nullptr  ? *real
                                          : NAN;
  if (bounds.whole && integer == nullptr) {
    Remember(key, "expected a whole number");
  } else if (!(value >= bounds.least && value <= bounds.most)) {
    Remember(key, "expected a number from " + ToText(bounds.least) + " to " + ToText(bounds.most));
  } else {
    return value;
  }
  return std::nullopt;
}

void Fields::Flag(std::string_view key, bool& out) {
  const PassConfig::Field* field = Take(key);
  if (field == nullptr) return;
  const auto* flag = std::get_if<bool>(&field->value);
  if (flag == nullptr) return Remember(key, "expected true or false");
  out = *flag;
}

void Fields::Text(std::string_view key, std::string& out) {
  const PassConfig::Field* field = Take(key);
  if (field == nullptr) return;
  const auto* text = std::get_if<std::string>(&field->value);
  if (text == nullptr) return Remember(key, "expected a text in quotes");
  out = *text;
}

void Fields::TextOrCount(std::string_view key, std::string& out) {
  const PassConfig::Field* field = Take(key);
  if (field == nullptr) return;
  if (const auto* count = std::get_if<std::int64_t>(&field->value)) {
    out = std::to_string(*count);
  } else if (const auto* text = std::get_if<std::string>(&field->value)) {
    out = *text;
  } else {
    Remember(key, "expected a text or a whole number");
  }
}

void Fields::Texts(std::string_view key, std::string_view like, std::vector<std::string>& out) {
  const PassConfig::Field* field = Take(key);
  if (field == nullptr) return;
  const auto* texts = std::get_if<std::vector<std::string>>(&field->value);
  if (texts == nullptr || texts->empty())
    return Remember(key, "expected a list such as " + std::string(like));
  out = *texts;
}

std::size_t Fields::Word(std::string_view key, std::span<const std::string_view> words,
                         std::size_t otherwise) {
  const PassConfig::Field* field = Take(key);
  if (field == nullptr) return otherwise;
  const auto* text = std::get_if<std::string>(&field->value);
  std::string list;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (text != nullptr && *text == words[i]) return i;
    list += (i == 0 ? "\"" : " or \"") + std::string(words[i]) + "\"";
  }
  Remember(key, "expected " + list);
  return otherwise;
}

Result<> Fields::Finish() const {
  if (error_) return *error_;
  for (const PassConfig::Field& field : pass_.fields) {
    if (std::ranges::find(known_, field.key) != known_.end()) continue;
    std::string list;
    for (const std::string& key : known_) list += (list.empty() ? "" : ", ") + key;
    return Refuse(field.location, "unknown key \"" + field.key + "\"; " + pass_.name.text +
                                      " has " + (list.empty() ? "none" : list));
  }
  return {};
}

}  // namespace fl::deploy
