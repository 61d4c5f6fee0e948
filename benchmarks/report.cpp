#include "fl/benchmarks/report.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <thread>

#include <nlohmann/json.hpp>

#include "fl/compression/app/text_table.h"

namespace fl::bench {
namespace {

std::string FormatShort(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.4g", value);
  return text;
}

// The processor's name, and how many threads run on it at once.
std::string DescribeMachine() {
  std::ifstream info("/proc/cpuinfo");
  std::string name = "unknown processor";
  for (std::string line; std::getline(info, line);) {
    if (!line.starts_with("model name")) continue;
    name = line.substr(std::min(line.find(':') + 2, line.size()));
    break;
  }
  return name + ", " + std::to_string(std::thread::hardware_concurrency()) + " threads";
}

std::string DescribeBuild() {
  return std::string("fl ") + FL_VERSION + ", " + FL_BUILD_TYPE + ", compiler " + __VERSION__;
}

}  // namespace

bool Bar::IsMetBy(double measured) const {
  if (kind == Kind::kAtMost) return measured <= value;
  return measured >= value && (kind == Kind::kAtLeast || measured <= upper);
}

std::string Bar::ToText() const {
  if (kind == Kind::kAtMost) return "<= " + FormatShort(value);
  return ">= " + FormatShort(value) +
         (kind == Kind::kBetween ? " and <= " + FormatShort(upper) : "");
}

std::size_t Report::missed() const {
  return static_cast<std::size_t>(std::ranges::count_if(
      rows_, [](const Row& row) { return row.bar && !row.bar->IsMetBy(row.value); }));
}

std::string Report::Draw() const {
  using codec_app::Align;
  codec_app::TextTable table(
      {Align::kLeft, Align::kRight, Align::kLeft, Align::kLeft, Align::kLeft, Align::kLeft});
  table.AddRow({"name", "value", "unit", "bar", "met", "reference"});
  for (const Row& row : rows_) {
    const std::string met = !row.bar ? "" : row.bar->IsMetBy(row.value) ? "yes" : "NO";
    table.AddRow({row.name, FormatShort(row.value), row.unit, row.bar ? row.bar->ToText() : "-",
                  met, row.reference});
  }
  std::string text = "machine  " + DescribeMachine() + "\nbuild    " + DescribeBuild() +
                     "\nrun      seed " + std::to_string(conditions_.seed) + ", medians of " +
                     std::to_string(conditions_.repeats) + " times of one thread\n\n" +
                     table.Draw();
  for (const std::string& note : notes_) text += note + "\n";
  const auto bars =
      std::ranges::count_if(rows_, [](const Row& row) { return row.bar.has_value(); });
  return text + std::to_string(rows_.size()) + " rows, " + std::to_string(bars) + " with a bar, " +
         std::to_string(missed()) + " missed\n";
}

std::string Report::ToJson() const {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const Row& row : rows_) {
    nlohmann::ordered_json bar;
    if (row.bar) bar = row.bar->ToText();
    rows.push_back({{"name", row.name},
                    {"value", row.value},
                    {"unit", row.unit},
                    {"bar", bar},
                    {"reference", row.reference}});
  }
  const nlohmann::ordered_json json = {
      {"machine", DescribeMachine()},   {"build", DescribeBuild()}, {"seed", conditions_.seed},
      {"repeats", conditions_.repeats}, {"notes", notes_},          {"rows", rows}};
  return json.dump(2) + "\n";
}

}  // namespace fl::bench
