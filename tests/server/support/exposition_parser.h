#pragma once

#include <cmath>
#include <cstdlib>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

// Prometheus' text format 0.0.4 as a scraper reads it, strictly: whatever is not said by the
// format, or not allowed, fails the test.
namespace fl::server::testing {

class Scrape {
 public:
  explicit Scrape(const std::string& text) {
    REQUIRE(text.ends_with('\n'));
    std::istringstream lines(text);
    std::string line;
    while (std::getline(lines, line)) {
      CAPTURE(line);
      if (line.starts_with("# HELP ")) {
        BeginFamily(line.substr(7));
      } else if (line.starts_with("# TYPE ")) {
        TakeType(line.substr(7));
      } else {
        TakeSample(line);
      }
    }
    CheckHistograms();
  }

  // The value of a sample, written as `name{label="value",...}`, exactly.
  double operator[](const std::string& sample) const {
    CAPTURE(sample);
    const auto found = values_.find(sample);
    REQUIRE(found != values_.end());
    return found->second;
  }
  bool has(const std::string& sample) const { return values_.contains(sample); }
  const std::map<std::string, std::string>& types() const { return types_; }

 private:
  void BeginFamily(const std::string& rest) {
    static const std::regex kHelp("([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)");
    std::smatch match;
    REQUIRE(std::regex_match(rest, match, kHelp));
    family_ = match[1];
    REQUIRE(!types_.contains(family_));  // Once, so that all of a family's lines stand together.
    has_type_ = false;
  }

  void TakeType(const std::string& rest) {
    static const std::regex kType("([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram)");
    std::smatch match;
    REQUIRE(std::regex_match(rest, match, kType));
    REQUIRE(match[1] == family_);
    REQUIRE(!has_type_);
    has_type_ = true;
    types_[family_] = match[2];
    if (match[2] == "counter") CHECK(family_.ends_with("_total"));
  }

  void TakeSample(const std::string& line) {
    static const std::regex kSample(
        "([a-zA-Z_:][a-zA-Z0-9_:]*)"
        "(\\{(?:[a-zA-Z_][a-zA-Z0-9_]*=\"(?:[^\"\\\\]|\\\\[\\\\\"n])*\"(?:,(?!\\})|(?=\\})))+\\})? "
        "([+-]?(?:[0-9]+(?:\\.[0-9]+)?(?:e[+-]?[0-9]+)?|Inf)|NaN)");
    std::smatch match;
    REQUIRE(std::regex_match(line, match, kSample));
    REQUIRE(has_type_);
    const std::string name = match[1];
    if (types_[family_] == "histogram") {
      const bool fits =
          name == family_ + "_bucket" || name == family_ + "_sum" || name == family_ + "_count";
      REQUIRE(fits);
    } else {
      REQUIRE(name == family_);
    }
    const std::string sample = name + match[2].str();
    REQUIRE(!values_.contains(sample));
    const double value = std::strtod(match[3].str().c_str(), nullptr);
    if (types_[family_] != "gauge") CHECK(value >= 0);
    values_[sample] = value;
    if (name.ends_with("_bucket")) TakeBucket(sample, value);
  }

  void TakeBucket(const std::string& sample, double value) {
    static const std::regex kBound("(.*)_bucket\\{(.*?),?le=\"([^\"]*)\"\\}");
    std::smatch match;
    REQUIRE(std::regex_match(sample, match, kBound));
    const std::string key = match[1].str() + "|" + match[2].str();
    buckets_[key].emplace_back(std::strtod(match[3].str().c_str(), nullptr), value);
  }

  void CheckHistograms() const {
    for (const auto& [key, buckets] : buckets_) {
      CAPTURE(key);
      for (std::size_t i = 1; i < buckets.size(); ++i) {
        CHECK(buckets[i].first > buckets[i - 1].first);
        CHECK(buckets[i].second >= buckets[i - 1].second);
      }
      CHECK(buckets.back().first == HUGE_VAL);
      const std::size_t bar = key.find('|');
      const std::string labels = key.substr(bar + 1);
      const std::string tail = labels.empty() ? "" : "{" + labels + "}";
      CHECK((*this)[key.substr(0, bar) + "_count" + tail] == buckets.back().second);
      CHECK(has(key.substr(0, bar) + "_sum" + tail));
    }
  }

  std::string family_;
  bool has_type_ = false;
  std::map<std::string, std::string> types_;
  std::map<std::string, double> values_;
  std::map<std::string, std::vector<std::pair<double, double>>> buckets_;
};

}  // namespace fl::server::testing
