#include "fl/common/config/table.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>
#include <sstream>

#include <toml++/toml.h>

#include "fl/common/base/byte_count.h"

namespace fl {
namespace {

std::string Number(double value) {
  if (value == std::floor(value) && std::abs(value) < 1e15)
    return std::to_string(static_cast<std::int64_t>(value));
  std::ostringstream text;
  text << value;
  return text.str();
}

std::string Describe(const Table::Range& range) {
  const bool low = std::isfinite(range.min);
  const bool high = std::isfinite(range.max);
  if (low && high) {
    return std::string(range.min_excluded ? "in (" : "in [") + Number(range.min) + ", " +
           Number(range.max) + (range.max_excluded ? ")" : "]");
  }
  if (low) return std::string(range.min_excluded ? "above " : "of at least ") + Number(range.min);
  return high ? "of at most " + Number(range.max) : "";
}

bool Contains(const Table::Range& range, double value) {
  return (range.min_excluded ? value > range.min : value >= range.min) &&
         (range.max_excluded ? value < range.max : value <= range.max);
}

std::string Found(const toml::node& node) {
  std::ostringstream text;
  if (node.is_string()) {
    text << "the text ";
  } else if (!node.is_number() && !node.is_boolean()) {
    text << "a value of type " << node.type();
    return text.str();
  }
  node.visit([&](const auto& value) {
    if constexpr (toml::is_value<decltype(value)>) text << value;
  });
  return text.str();
}

Location LocationOf(const toml::node& node) {
  return {node.source().begin.line, node.source().begin.column};
}

}  // namespace

struct Table::State {
  std::shared_ptr<const toml::table>
      root;                            // Keeps `table` alive; shared by all tables of one file.
  const toml::table* table = nullptr;  // Absent: an empty one.
  std::string name;
  std::string path;  // "rounds." in messages; empty at the root.
  Location location;
  std::set<std::string, std::less<>> asked;
  std::optional<Error> error;

  const toml::node* Find(std::string_view key) {
    asked.emplace(key);
    return table == nullptr ? nullptr : table->get(key);
  }
  Error At(Location place, ErrorCode code, std::string_view message) const {
    return {code, name + ":" + std::to_string(place.line) + ":" + std::to_string(place.column) +
                      ": " + std::string(message)};
  }
  void Fail(const toml::node& node, std::string_view key, std::string_view expected) {
    if (error) return;
    error = At(
        LocationOf(node), ErrorCode::kInvalidArgument,
        path + std::string(key) + ": expected " + std::string(expected) + ", found " + Found(node));
  }

  template <typename T>
  std::optional<T> Integer(const toml::node& node, std::string_view key, Range range) {
    const std::string expected = "a whole number " + Describe(range);
    const auto value = node.value_exact<std::int64_t>();
    if (!value || *value < 0 || !Contains(range, static_cast<double>(*value)) ||
        static_cast<std::uint64_t>(*value) > std::numeric_limits<T>::max()) {
      Fail(node, key, expected);
      return std::nullopt;
    }
    return static_cast<T>(*value);
  }
  std::optional<double> Real(const toml::node& node, std::string_view key, Range range) {
    const auto value = node.is_number() ? node.value<double>() : std::nullopt;
    if (!value || !std::isfinite(*value) || !Contains(range, *value)) {
      Fail(node, key, "a number " + Describe(range));
      return std::nullopt;
    }
    return value;
  }
  std::optional<std::string> Text(const toml::node& node, std::string_view key) {
    auto value = node.value_exact<std::string>();
    if (!value) Fail(node, key, "a text in quotes");
    return value;
  }
  // Calls read(node) for each element of the array under `key`.
  template <typename Read>
  void Elements(std::string_view key, Read read) {
    const toml::node* node = Find(key);
    if (node == nullptr) return;
    if (!node->is_array()) return Fail(*node, key, "a list in [ ]");
    for (const toml::node& element : *node->as_array()) read(element);
  }
};

Table::Table(std::unique_ptr<State> state) : state_(std::move(state)) {}
Table::Table(Table&&) noexcept = default;
Table& Table::operator=(Table&&) noexcept = default;
Table::~Table() = default;

Result<Table> Table::Parse(std::string_view text, std::string_view name) {
  auto state = std::make_unique<State>();
  state->name = name;
  state->location = {1, 1};
  try {
    state->root = std::make_shared<const toml::table>(toml::parse(text, name));
  } catch (const toml::parse_error& error) {
    return state->At({error.source().begin.line, error.source().begin.column},
                     ErrorCode::kMalformed, "not valid TOML: " + std::string(error.description()));
  }
  state->table = state->root.get();
  return Table(std::move(state));
}

bool Table::present() const {
  return state_->table != nullptr;
}

void Table::Read(std::string_view key, bool& value) {
  const toml::node* node = state_->Find(key);
  if (node == nullptr) return;
  if (const auto found = node->value_exact<bool>()) {
    value = *found;
  } else {
    state_->Fail(*node, key, "true or false");
  }
}

void Table::Read(std::string_view key, double& value, Range range) {
  const toml::node* node = state_->Find(key);
  if (node == nullptr) return;
  if (const auto found = state_->Real(*node, key, range)) value = *found;
}

void Table::Read(std::string_view key, std::optional<double>& value, Range range,
                 std::string_view word) {
  const toml::node* node = state_->Find(key);
  if (node == nullptr) return;
  if (node->value_exact<std::string>() == word) {
    value.reset();
  } else if (node->is_number()) {
    if (const auto found = state_->Real(*node, key, range)) value = *found;
  } else {
    state_->Fail(*node, key, "a number " + Describe(range) + " or \"" + std::string(word) + "\"");
  }
}

void Table::ReadBytes(std::string_view key, std::uint64_t& value, Range range) {
  const toml::node* node = state_->Find(key);
  if (node == nullptr) return;
  if (!node->is_string()) return Read(key, value, range);
  const auto found = ParseByteCount(*node->value_exact<std::string>());
  if (found && Contains(range, static_cast<double>(*found))) {
    value = *found;
  } else {
    state_->Fail(*node, key, "a number of bytes like \"8KB\" " + Describe(range));
  }
}

void Table::Read(std::string_view key, std::uint32_t& value, Range range) {
  const toml::node* node = state_->Find(key);
  if (node == nullptr) return;
  if (const auto found = state_->Integer<std::uint32_t>(*node, key, range)) value = *found;
}

void Table::Read(std::string_view key, std::uint64_t& value, Range range) {
  const toml::node* node = state_->Find(key);
  if (node == nullptr) return;
  if (const auto found = state_->Integer<std::uint64_t>(*node, key, range)) value = *found;
}

void Table::Read(std::string_view key, std::string& value) {
  const toml::node* node = state_->Find(key);
  if (node == nullptr) return;
  if (auto found = state_->Text(*node, key)) value = *std::move(found);
}

void Table::Read(std::string_view key, std::string& value,
                 const std::vector<std::string>& choices) {
  const toml::node* node = state_->Find(key);
  if (node == nullptr) return;
  auto found = state_->Text(*node, key);
  if (!found) return;
  if (std::ranges::find(choices, *found) == choices.end()) {
    std::string expected = "one of";
    for (const std::string& choice : choices) expected += " \"" + choice + "\"";
    return state_->Fail(*node, key, expected);
  }
  value = *std::move(found);
}

void Table::Read(std::string_view key, LocatedText& value) {
  const toml::node* node = state_->Find(key);
  if (node == nullptr) return;
  if (auto found = state_->Text(*node, key)) value = {*std::move(found), LocationOf(*node)};
}

void Table::Read(std::string_view key, std::vector<std::string>& values) {
  std::vector<LocatedText> located;
  Read(key, located);
  if (state_->table == nullptr || state_->table->get(key) == nullptr) return;
  values.clear();
  for (LocatedText& element : located) values.push_back(std::move(element.text));
}

void Table::Read(std::string_view key, std::vector<LocatedText>& values) {
  if (state_->Find(key) != nullptr) values.clear();
  state_->Elements(key, [&](const toml::node& node) {
    if (auto found = state_->Text(node, key))
      values.push_back({*std::move(found), LocationOf(node)});
  });
}

void Table::Read(std::string_view key, std::vector<double>& values, Range range) {
  if (state_->Find(key) != nullptr) values.clear();
  state_->Elements(key, [&](const toml::node& node) {
    if (const auto found = state_->Real(node, key, range)) values.push_back(*found);
  });
}

void Table::Read(std::string_view key, std::vector<std::size_t>& values, Range range) {
  if (state_->Find(key) != nullptr) values.clear();
  state_->Elements(key, [&](const toml::node& node) {
    if (const auto found = state_->Integer<std::size_t>(node, key, range)) values.push_back(*found);
  });
}

Table Table::Child(std::string_view key) {
  auto child = std::make_unique<State>();
  child->root = state_->root;
  child->name = state_->name;
  child->path = state_->path + std::string(key) + ".";
  child->location = state_->location;
  if (const toml::node* node = state_->Find(key)) {
    child->location = LocationOf(*node);
    child->table = node->as_table();
    if (child->table == nullptr)
      state_->Fail(*node, key, "a table [" + state_->path + std::string(key) + "]");
  }
  return Table(std::move(child));
}

std::vector<Table> Table::Children(std::string_view key) {
  std::vector<Table> children;
  state_->Elements(key, [&](const toml::node& node) {
    auto child = std::make_unique<State>();
    child->root = state_->root;
    child->name = state_->name;
    child->path = state_->path + std::string(key) + ".";
    child->location = LocationOf(node);
    child->table = node.as_table();
    if (child->table == nullptr)
      return state_->Fail(node, key, "tables [[" + state_->path + std::string(key) + "]]");
    children.push_back(Table(std::move(child)));
  });
  return children;
}

std::vector<PassConfig::Field> Table::Rest() {
  std::vector<PassConfig::Field> fields;
  if (state_->table == nullptr) return fields;
  for (const auto& [key, node] : *state_->table) {
    if (state_->asked.contains(key.str())) continue;
    PassConfig::Field field{std::string(key.str()), false, LocationOf(node)};
    if (const auto boolean = node.value_exact<bool>()) {
      field.value = *boolean;
    } else if (const auto integer = node.value_exact<std::int64_t>()) {
      field.value = *integer;
    } else if (const auto real = node.value_exact<double>()) {
      field.value = *real;
    } else if (auto text = node.value_exact<std::string>()) {
      field.value = *std::move(text);
    } else if (node.is_array()) {
      std::vector<std::string> texts;
      Read(key.str(), texts);
      field.value = std::move(texts);
    } else {
      state_->Fail(node, key.str(), "a number, a text, true, false or a list of texts");
    }
    state_->asked.emplace(key.str());
    fields.push_back(std::move(field));
  }
  std::ranges::sort(fields, {}, [](const PassConfig::Field& field) {
    return std::pair(field.location.line, field.location.column);
  });
  return fields;
}

Error Table::ErrorAt(std::string_view key, ErrorCode code, std::string_view message) const {
  const toml::node* node = state_->table == nullptr ? nullptr : state_->table->get(key);
  return state_->At(node == nullptr ? state_->location : LocationOf(*node), code,
                    state_->path + std::string(key) + ": " + std::string(message));
}

void Table::Refuse(std::string_view key, std::string_view message) {
  if (!state_->error) state_->error = ErrorAt(key, ErrorCode::kInvalidArgument, message);
}

Result<> Table::Finish() {
  if (state_->error) return *state_->error;
  if (state_->table == nullptr) return {};
  for (const auto& [key, node] : *state_->table) {
    if (state_->asked.contains(key.str())) continue;
    std::string known;
    for (const std::string& name : state_->asked) known += (known.empty() ? "" : ", ") + name;
    return state_->At(
        {key.source().begin.line, key.source().begin.column}, ErrorCode::kInvalidArgument,
        "unknown key '" + state_->path + std::string(key.str()) + "'; known here: " + known);
  }
  return {};
}

}  // namespace fl
