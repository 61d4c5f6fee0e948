#include <sstream>

#include <toml++/toml.h>

#include "fl/common/config/plan.h"

namespace fl {
namespace {

// A value in TOML's notation, or a bare word as a text.
toml::table ParseValue(std::string_view value) {
  try {
    return toml::parse("value = " + std::string(value));
  } catch (const toml::parse_error&) {
    toml::table table;
    table.insert("value", std::string(value));
    return table;
  }
}

Result<> Apply(toml::table& root, std::string_view setting) {
  const std::size_t equals = setting.find('=');
  const auto refuse = [&](std::string_view why) {
    return Error{ErrorCode::kInvalidArgument,
                 "setting '" + std::string(setting) + "': " + std::string(why)};
  };
  if (equals == std::string_view::npos || equals == 0)
    return refuse("expected key=value, e.g. rounds.count=20");
  std::string_view path = setting.substr(0, equals);
  toml::table* table = &root;
  for (std::size_t dot = path.find('.'); dot != std::string_view::npos; dot = path.find('.')) {
    toml::node* next = table->get(path.substr(0, dot));
    if (next == nullptr) next = &table->insert(path.substr(0, dot), toml::table{}).first->second;
    table = next->as_table();
    if (table == nullptr)
      return refuse("'" + std::string(path.substr(0, dot)) + "' is not a table");
    path.remove_prefix(dot + 1);
  }
  if (path.empty()) return refuse("expected a key before the '='");
  const toml::table value = ParseValue(setting.substr(equals + 1));
  value.get("value")->visit([&](const auto& node) { table->insert_or_assign(path, node); });
  return {};
}

}  // namespace

Result<std::string> OverridePlan(std::string_view text, const std::vector<std::string>& settings) {
  if (settings.empty()) return std::string(text);
  toml::table root;
  try {
    root = toml::parse(text);
  } catch (const toml::parse_error& error) {
    return Error{ErrorCode::kMalformed,
                 std::to_string(error.source().begin.line) + ":" +
                     std::to_string(error.source().begin.column) +
                     ": not valid TOML: " + std::string(error.description())};
  }
  for (const std::string& setting : settings) FL_TRY_OK(Apply(root, setting));
  std::ostringstream result;
  result << root << "\n";
  return result.str();
}

}  // namespace fl
