#include "fl/common/data/csv.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include "fl/common/data/internal/csv_reader.h"

namespace fl::data {
namespace {

using internal::CsvReader;
using Fields = std::vector<std::string>;
using Filter = std::vector<std::pair<std::string, std::string>>;

bool IsMissing(std::string_view field) {
  return field.empty() || field == "?";
}

std::optional<std::int32_t> ParseInteger(std::string_view text) {
  std::int32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<float> ParseNumber(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  const auto number = static_cast<float>(value);
  if (!std::isfinite(number)) return std::nullopt;
  return number;
}

// Different texts of a column; their ranks in sorted order once all rows were seen.
class Vocabulary {
 public:
  Result<> Add(const std::string& text, std::size_t size_max) {
    if (ranks_.size() >= size_max && !ranks_.contains(text)) {
      return Error{ErrorCode::kLimitExceeded,
                   "more than " + std::to_string(size_max) + " different values"};
    }
    ranks_.try_emplace(text, 0);
    return {};
  }
  void Close() {
    std::size_t rank = 0;
    for (auto& entry : ranks_) entry.second = rank++;
  }
  std::size_t size() const { return ranks_.size(); }
  std::optional<std::size_t> Find(const std::string& text) const {
    const auto found = ranks_.find(text);
    return found == ranks_.end() ? std::nullopt : std::optional(found->second);
  }
  // Whether all texts are whole numbers of at least `smallest`.
  bool AllIntegers(std::int32_t smallest) const {
    return std::ranges::all_of(ranks_, [smallest](const auto& entry) {
      return ParseInteger(entry.first).value_or(std::numeric_limits<std::int32_t>::min()) >=
                 smallest &&
             ParseInteger(entry.first).has_value();
    });
  }
  std::size_t LargestInteger() const {
    std::int32_t largest = 0;
    for (const auto& entry : ranks_)
      largest = std::max(largest, ParseInteger(entry.first).value_or(0));
    return static_cast<std::size_t>(largest);
  }

 private:
  std::map<std::string, std::size_t> ranks_;
};

enum class Role : std::uint8_t { kNumber, kCategory, kLabel, kIgnored };

struct Column {
  std::string name;
  Role role = Role::kNumber;
  bool declared = false;  // The plan lists the categories.
  Vocabulary vocabulary;  // kCategory, and kLabel of a classification.
  double sum = 0;         // kNumber: of the fields that are there, for the mean.
  std::uint64_t present = 0;
};

struct Table {
  std::vector<Column> columns;
  std::vector<std::pair<std::size_t, std::string>> filter;  // By column.
  std::size_t label = 0;
};

Result<std::size_t> FindColumn(const std::vector<Column>& columns, std::string_view name) {
  const auto found = std::ranges::find(columns, name, &Column::name);
  if (found != columns.end()) return static_cast<std::size_t>(found - columns.begin());
  std::string names;
  for (std::size_t i = 0; i < std::min<std::size_t>(columns.size(), 40); ++i)
    names += " " + columns[i].name;
  return Error{ErrorCode::kInvalidArgument,
               "column '" + std::string(name) + "' does not exist; there are:" + names};
}

Result<Table> ReadHeader(CsvReader& reader, Fields& fields, const Filter& filter) {
  FL_TRY(const bool found, reader.Next(fields));
  if (!found)
    return Error{ErrorCode::kMalformed, "line 1: expected the names of the columns, found nothing"};
  Table table;
  std::set<std::string> names;
  for (const std::string& name : fields) {
    if (name.empty() || !names.insert(name).second) {
      return reader.Malformed("expected names of columns that are unique and not empty, found '" +
                              name + "'");
    }
    table.columns.push_back({.name = name, .vocabulary = {}});
  }
  for (const auto& [name, text] : filter) {
    FL_TRY(const std::size_t column, FindColumn(table.columns, name));
    table.columns[column].role = Role::kIgnored;
    table.filter.emplace_back(column, text);
  }
  return table;
}

bool Passes(const Table& table, const Fields& fields) {
  return std::ranges::all_of(table.filter,
                             [&](const auto& rule) { return fields[rule.first] == rule.second; });
}

// "NAME" or "NAME=A|B|C".
Result<> DeclareCategorical(Table& table, std::string_view text) {
  const std::size_t equals = text.find('=');
  FL_TRY(const std::size_t index, FindColumn(table.columns, text.substr(0, equals)));
  Column& column = table.columns[index];
  column.role = Role::kCategory;
  if (equals == std::string_view::npos) return {};
  column.declared = true;
  std::string_view rest = text.substr(equals + 1);
  while (true) {
    const std::size_t bar = rest.find('|');
    FL_TRY_OK(column.vocabulary.Add(std::string(rest.substr(0, bar)),
                                    std::numeric_limits<std::size_t>::max()));
    if (bar == std::string_view::npos) return {};
    rest.remove_prefix(bar + 1);
  }
}

Result<> AssignRoles(Table& table, const CsvOptions& options) {
  for (const std::string& text : options.categorical) FL_TRY_OK(DeclareCategorical(table, text));
  for (const std::string& name : options.ignore) {
    const auto found = std::ranges::find(table.columns, name, &Column::name);
    if (found != table.columns.end()) found->role = Role::kIgnored;
  }
  table.label = table.columns.size() - 1;
  if (!options.label.empty()) {
    FL_TRY(table.label, FindColumn(table.columns, options.label));
  }
  table.columns[table.label].role = Role::kLabel;
  return {};
}

// What the first pass takes from one field.
Result<> SurveyField(Column& column, const std::string& field, const CsvOptions& options,
                     const DataLimits& limits, bool kept) {
  if (column.role == Role::kIgnored) return {};
  if (IsMissing(field)) {
    if (column.role == Role::kLabel)
      return Error{ErrorCode::kMalformed, "expected a label, found none"};
    if (options.fill_missing) return {};
    return Error{ErrorCode::kMalformed,
                 "expected a value, found none (the plan refuses missing values)"};
  }
  if (column.role == Role::kCategory && column.declared) {
    if (column.vocabulary.Find(field)) return {};
    return Error{ErrorCode::kMalformed,
                 "expected one of the declared categories, found '" + field + "'"};
  }
  if (column.role == Role::kCategory) return column.vocabulary.Add(field, limits.categories_max);
  if (column.role == Role::kLabel && !options.regression)
    return column.vocabulary.Add(field, limits.classes_max);
  const std::optional<float> number = ParseNumber(field);
  if (!number)
    return Error{ErrorCode::kMalformed, "expected a finite number, found '" + field + "'"};
  if (kept) {
    column.sum += static_cast<double>(*number);
    ++column.present;
  }
  return {};
}

// The first pass over the rows: categories, classes and means. Returns how many rows pass the
// filter.
Result<std::size_t> Survey(Table& table, CsvReader& reader, const CsvOptions& options,
                           const DataLimits& limits) {
  Fields fields;
  std::size_t rows = 0;
  while (true) {
    FL_TRY(const bool found, reader.Next(fields));
    if (!found) break;
    if (fields.size() != table.columns.size()) {
      return reader.Malformed("expected " + std::to_string(table.columns.size()) +
                              " fields, found " + std::to_string(fields.size()));
    }
    const bool kept = Passes(table, fields);
    for (std::size_t i = 0; i < fields.size(); ++i) {
      const Result<> taken = SurveyField(table.columns[i], fields[i], options, limits, kept);
      if (!taken)
        return taken.error().At("line " + std::to_string(reader.line()) + ": column '" +
                                table.columns[i].name + "'");
    }
    rows += kept ? 1 : 0;
  }
  for (Column& column : table.columns) column.vocabulary.Close();
  if (rows == 0)
    return Error{ErrorCode::kInvalidArgument, "no row is left (by the filter, or there is none)"};
  return rows;
}

std::size_t FeatureCount(const Table& table, const CsvOptions& options) {
  std::size_t count = 0;
  for (const Column& column : table.columns) {
    if (column.role == Role::kNumber) ++count;
    if (column.role == Role::kCategory)
      count += column.vocabulary.size() + (options.fill_missing ? 1 : 0);
  }
  return count;
}

void AppendNumber(const Column& column, const std::string& field, std::vector<float>& out) {
  if (!IsMissing(field)) {
    out.push_back(ParseNumber(field).value_or(0.0F));  // The survey saw that it is a number.
    return;
  }
  out.push_back(column.present > 0
                    ? static_cast<float>(column.sum / static_cast<double>(column.present))
                    : 0.0F);
}

void AppendOneHot(const Column& column, const std::string& field, bool fill_missing,
                  std::vector<float>& out) {
  const std::size_t start = out.size();
  const std::size_t size = column.vocabulary.size();
  out.resize(start + size + (fill_missing ? 1 : 0), 0.0F);
  if (IsMissing(field)) {
    out[start + size] = 1.0F;
  } else {
    out[start + column.vocabulary.Find(field).value_or(0)] = 1.0F;  // The survey put it there.
  }
}

// The classes that the labels say, and whether a label is its class's number.
struct ClassRule {
  bool numbered = false;
  std::size_t classes = 0;
};

Result<ClassRule> MakeClassRule(const Table& table, const CsvOptions& options,
                                const DataLimits& limits) {
  const Vocabulary& labels = table.columns[table.label].vocabulary;
  ClassRule rule;
  rule.numbered = labels.AllIntegers(0);
  const std::size_t found = rule.numbered ? labels.LargestInteger() + 1 : labels.size();
  if (found > limits.classes_max || options.classes > limits.classes_max) {
    return Error{ErrorCode::kLimitExceeded,
                 "column '" + table.columns[table.label].name + "': more classes than accepted"};
  }
  if (options.classes > 0 && found > options.classes) {
    return Error{ErrorCode::kMalformed,
                 "column '" + table.columns[table.label].name + "': expected at most " +
                     std::to_string(options.classes) + " classes, found " + std::to_string(found)};
  }
  rule.classes = options.classes > 0 ? options.classes : found;
  return rule;
}

void AppendLabel(const Column& column, const std::string& field, const ClassRule& rule,
                 Samples& samples) {
  if (rule.classes == 0) {
    samples.targets.push_back(ParseNumber(field).value_or(0.0F));
  } else if (rule.numbered) {
    samples.labels.push_back(ParseInteger(field).value_or(0));
  } else {
    samples.labels.push_back(static_cast<std::int32_t>(column.vocabulary.Find(field).value_or(0)));
  }
}

// The second pass, over text that the survey found good.
Result<std::vector<float>> FillRows(const Table& table, CsvReader& reader,
                                    const CsvOptions& options, const ClassRule& rule,
                                    Samples& samples) {
  Fields fields;
  std::vector<float> features;
  while (true) {
    FL_TRY(const bool found, reader.Next(fields));
    if (!found) return features;
    if (!Passes(table, fields)) continue;
    for (std::size_t i = 0; i < fields.size(); ++i) {
      const Column& column = table.columns[i];
      if (column.role == Role::kNumber) AppendNumber(column, fields[i], features);
      if (column.role == Role::kCategory)
        AppendOneHot(column, fields[i], options.fill_missing, features);
    }
    AppendLabel(table.columns[table.label], fields[table.label], rule, samples);
  }
}

}  // namespace

Result<Samples> ParseCsv(std::string_view text, const CsvOptions& options,
                         const DataLimits& limits) {
  CsvReader reader(text, limits);
  Fields fields;
  FL_TRY(Table table, ReadHeader(reader, fields, options.filter));
  FL_TRY_OK(AssignRoles(table, options));
  const CsvReader rows_start = reader;
  FL_TRY(const std::size_t rows, Survey(table, reader, options, limits));
  const std::size_t features = FeatureCount(table, options);
  if (features == 0) return Error{ErrorCode::kInvalidArgument, "no column is left for features"};
  if (rows > limits.samples_max || features > limits.values_max / rows) {
    return Error{ErrorCode::kLimitExceeded, std::to_string(rows) + " rows of " +
                                                std::to_string(features) +
                                                " features are more than accepted"};
  }
  ClassRule rule;
  if (!options.regression) {
    FL_TRY(rule, MakeClassRule(table, options, limits));
  }
  Samples samples;
  samples.shape = {features};
  samples.classes = rule.classes;
  CsvReader again = rows_start;
  FL_TRY(samples.features, FillRows(table, again, options, rule, samples));
  return samples;
}

Result<std::vector<std::int32_t>> ParseCsvIds(std::string_view text, std::string_view column,
                                              const Filter& filter, const DataLimits& limits) {
  CsvReader reader(text, limits);
  Fields fields;
  FL_TRY(const Table table, ReadHeader(reader, fields, filter));
  FL_TRY(const std::size_t index, FindColumn(table.columns, column));
  Vocabulary vocabulary;
  std::vector<std::string> texts;
  while (true) {
    FL_TRY(const bool found, reader.Next(fields));
    if (!found) break;
    if (fields.size() != table.columns.size()) {
      return reader.Malformed("expected " + std::to_string(table.columns.size()) +
                              " fields, found " + std::to_string(fields.size()));
    }
    if (!Passes(table, fields)) continue;
    if (texts.size() == limits.samples_max)
      return Error{ErrorCode::kLimitExceeded, "more rows than accepted"};
    FL_TRY_OK(vocabulary.Add(fields[index], limits.samples_max));
    texts.push_back(fields[index]);
  }
  if (texts.empty())
    return Error{ErrorCode::kInvalidArgument, "no row is left (by the filter, or there is none)"};
  vocabulary.Close();
  const bool numbered = vocabulary.AllIntegers(std::numeric_limits<std::int32_t>::min());
  std::vector<std::int32_t> ids;
  ids.reserve(texts.size());
  for (const std::string& id : texts) {
    ids.push_back(numbered ? ParseInteger(id).value_or(0)
                           : static_cast<std::int32_t>(vocabulary.Find(id).value_or(0)));
  }
  return ids;
}

}  // namespace fl::data
