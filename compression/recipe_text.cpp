// The syntax of the recipe language: text to stages and back. What stages mean is in recipe.cpp.
#include <algorithm>
#include <string>

#include "fl/compression/recipe.h"

namespace fl {
namespace {

constexpr std::size_t kTextMax = 1000;  // Characters in a recipe.

bool IsSpace(char c) {
  return c == ' ' || c == '\t';
}
bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}
bool IsWordCharacter(char c) {
  return IsNameCharacter(c) || (c >= 'A' && c <= 'Z') || c == '%' || c == '.' || c == '-' ||
         c == ':';
}

Error At(std::size_t column, const std::string& message) {
  return {ErrorCode::kInvalidArgument,
          "at character " + std::to_string(column + 1) + ": " + message};
}

Result<> AddWord(std::string_view word, std::size_t column, Stage& stage) {
  const std::size_t equals = word.find('=');
  const std::string key(word.substr(0, equals));
  const std::string value(equals == std::string_view::npos ? std::string_view()
                                                           : word.substr(equals + 1));
  if (key.empty() || (equals != std::string_view::npos && value.empty())) {
    return At(column, "expected key=value, found \"" + std::string(word) + "\"");
  }
  if (!std::ranges::all_of(key, IsWordCharacter) || !std::ranges::all_of(value, IsWordCharacter)) {
    return At(column, "unexpected character in \"" + std::string(word) + "\"");
  }
  if (equals != std::string_view::npos) {
    stage.options.emplace_back(key, value);
  } else if (!stage.name.empty()) {
    stage.arguments.push_back(key);
  } else if (std::ranges::all_of(key, IsNameCharacter)) {
    stage.name = key;
    stage.column = column;
  } else {
    return At(column, "expected a stage's name, found \"" + key + "\"");
  }
  return {};
}

Result<Stage> ParseStage(std::string_view text, std::size_t begin, std::size_t end) {
  Stage stage;
  for (std::size_t i = begin; i < end;) {
    if (IsSpace(text[i])) {
      ++i;
      continue;
    }
    std::size_t word_end = i;
    while (word_end < end && !IsSpace(text[word_end])) ++word_end;
    FL_TRY_OK(AddWord(text.substr(i, word_end - i), i, stage));
    if (stage.name.empty()) return At(i, "expected a stage's name before its options");
    i = word_end;
  }
  if (stage.name.empty()) return At(begin, "expected a stage, such as quantize 8");
  return stage;
}

}  // namespace

Result<Recipe> ParseRecipe(std::string_view text) {
  if (text.size() > kTextMax)
    return At(kTextMax, "a recipe has at most " + std::to_string(kTextMax) + " characters");
  Recipe recipe;
  Recipe* part = &recipe;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find_first_of("|+", begin), text.size());
    FL_TRY(Stage stage, ParseStage(text, begin, end));
    part->stages.push_back(std::move(stage));
    if (end < text.size() && text[end] == '+') part = &recipe.rest.emplace_back();
    begin = end + 1;
  }
  return recipe;
}

std::string ToText(const Recipe& recipe) {
  std::string text;
  for (const Stage& stage : recipe.stages) {
    if (!text.empty()) text += " | ";
    text += stage.name;
    for (const std::string& argument : stage.arguments) text.append(" ").append(argument);
    for (const auto& [key, value] : stage.options)
      text.append(" ").append(key).append("=").append(value);
  }
  for (const Recipe& part : recipe.rest) text.append(" + ").append(ToText(part));
  return text;
}

}  // namespace fl
