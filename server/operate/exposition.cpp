#include "fl/server/operate/exposition.h"

#include <array>
#include <charconv>

#include "fl/common/base/result.h"

namespace fl::server {
namespace {

std::string Number(double value) {
  std::array<char, 32> digits{};
  char* const last = digits.data() + digits.size();
  auto [end, error] = std::to_chars(digits.data(), last, value, std::chars_format::fixed);
  if (error != std::errc()) end = std::to_chars(digits.data(), last, value).ptr;  // Too long.
  return {digits.data(), end};
}

void AppendLabel(std::string& text, std::string_view name, std::string_view value) {
  if (text.back() != '{') text += ',';
  (text += name) += "=\"";
  for (const char c : value) {
    if (c == '\n') {
      text += "\\n";
      continue;
    }
    if (c == '"' || c == '\\') text += '\\';
    text += c;
  }
  text += '"';
}

}  // namespace

void Exposition::Family(std::string_view name, MetricType type, std::string_view help) {
  constexpr std::array<std::string_view, 3> kTypes = {"counter", "gauge", "histogram"};
  name_ = name;
  ((((text_ += "# HELP ") += name) += ' ') += help) += '\n';
  ((((text_ += "# TYPE ") += name) += ' ') += kTypes[static_cast<std::size_t>(type)]) += '\n';
}

void Exposition::Line(std::string_view suffix, std::span<const Label> labels,
                      std::string_view bound, std::string_view value) {
  (text_ += name_) += suffix;
  if (!labels.empty() || !bound.empty()) {
    text_ += '{';
    for (const auto& [name, label] : labels) AppendLabel(text_, name, label);
    if (!bound.empty()) AppendLabel(text_, "le", bound);
    text_ += '}';
  }
  ((text_ += ' ') += value) += '\n';
}

void Exposition::Sample(std::span<const Label> labels, double value) {
  Line("", labels, "", Number(value));
}

void Exposition::Sample(std::span<const Label> labels, std::uint64_t value) {
  Line("", labels, "", std::to_string(value));
}

void Exposition::Histogram(std::span<const Label> labels, std::span<const double> bounds,
                           std::span<const std::uint64_t> counts, double sum) {
  FL_CHECK(counts.size() == bounds.size() + 1, "a histogram has one more count than bounds");
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    total += counts[i];
    Line("_bucket", labels, i < bounds.size() ? Number(bounds[i]) : "+Inf", std::to_string(total));
  }
  Line("_sum", labels, "", Number(sum));
  Line("_count", labels, "", std::to_string(total));
}

}  // namespace fl::server
