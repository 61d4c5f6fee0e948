#include "fl/server/operate/exposition.h"

#include <array>

#include "fl/tests/server/support/exposition_parser.h"

namespace fl::server::testing {
namespace {

TEST_CASE("Exposition: families have help and type before their samples") {
  Exposition out;
  const std::array<Label, 2> labels = {Label{"kind", "a"}, Label{"code", "b"}};
  out.Family("things_total", MetricType::kCounter, "Things.");
  out.Sample(labels, std::uint64_t{18446744073709551615U});
  out.Family("share", MetricType::kGauge, "A share.");
  out.Sample({}, 0.25);
  CHECK(std::move(out).Take() ==
        "# HELP things_total Things.\n# TYPE things_total counter\n"
        "things_total{kind=\"a\",code=\"b\"} 18446744073709551615\n"
        "# HELP share A share.\n# TYPE share gauge\nshare 0.25\n");
}

TEST_CASE("Exposition: a histogram's buckets add up, with and without labels") {
  Exposition out;
  const std::array<double, 2> bounds = {0.5, 1};
  const std::array<std::uint64_t, 3> counts = {2, 0, 3};
  const std::array<Label, 1> labels = {Label{"step", "x"}};
  out.Family("took_seconds", MetricType::kHistogram, "Time.");
  out.Histogram(labels, bounds, counts, 7.5);
  out.Histogram({}, bounds, counts, 7.5);
  const Scrape scrape(std::move(out).Take());
  CHECK(scrape["took_seconds_bucket{step=\"x\",le=\"0.5\"}"] == 2);
  CHECK(scrape["took_seconds_bucket{step=\"x\",le=\"1\"}"] == 2);
  CHECK(scrape["took_seconds_bucket{step=\"x\",le=\"+Inf\"}"] == 5);
  CHECK(scrape["took_seconds_bucket{le=\"+Inf\"}"] == 5);
  CHECK(scrape["took_seconds_sum"] == 7.5);
  CHECK(scrape["took_seconds_count{step=\"x\"}"] == 5);
}

TEST_CASE("Exposition: a label's value cannot break out of its line") {
  Exposition out;
  const std::array<Label, 1> labels = {Label{"name", "a\"b\\c\nd"}};
  out.Family("x", MetricType::kGauge, "X.");
  out.Sample(labels, std::uint64_t{1});
  const Scrape scrape(std::move(out).Take());
  CHECK(scrape["x{name=\"a\\\"b\\\\c\\nd\"}"] == 1);
}

}  // namespace
}  // namespace fl::server::testing
