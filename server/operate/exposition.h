#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

// Prometheus' text exposition format, version 0.0.4: for each family a HELP and a TYPE line, then
// its samples. https://prometheus.io/docs/instrumenting/exposition_formats/
namespace fl::server {

enum class MetricType : std::uint8_t { kCounter, kGauge, kHistogram };
using Label = std::pair<std::string_view, std::string_view>;

// Writes families one after the other. Names and help texts are ours, label values anybody's: they
// are escaped. Thread safety: distinct objects safe.
class Exposition {
 public:
  static constexpr std::string_view kContentType = "text/plain; version=0.0.4; charset=utf-8";

  // Begins a family; the samples that follow are its own. `help` is one line.
  void Family(std::string_view name, MetricType type, std::string_view help);
  void Sample(std::span<const Label> labels, double value);
  void Sample(std::span<const Label> labels, std::uint64_t value);
  void Sample(std::uint64_t value) { Sample({}, value); }
  // Of a histogram: `counts` of each bucket alone, one more than `bounds`; the last one has no
  // bound.
  void Histogram(std::span<const Label> labels, std::span<const double> bounds,
                 std::span<const std::uint64_t> counts, double sum);

  std::string Take() && { return std::move(text_); }

 private:
  void Line(std::string_view suffix, std::span<const Label> labels, std::string_view bound,
            std::string_view value);

  std::string name_;
  std::string text_;
};

}  // namespace fl::server
