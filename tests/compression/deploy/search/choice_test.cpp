#include "fl/compression/deploy/search/choice.h"

#include <doctest/doctest.h>

namespace fl::deploy {
namespace {

const Objectives kTeacher{0.90, 4000, 100};

Trial MakeTrial(const Objectives& result) {
  Trial trial{.name = "list", .finalist = true, .within = true};
  trial.result = result;
  trial.measured = {.teacher_accuracy = 0.9,
                    .local_accuracy = result.accuracy,
                    .majority_share = 0.1,
                    .bytes = result.bytes};
  return trial;
}

std::optional<std::size_t> Chosen(const std::vector<Trial>& trials, Preference prefer) {
  return ChooseTrial(trials, kTeacher, {{.drop_points_max = 2, .bytes_max = 2000}, prefer});
}

TEST_CASE("ChooseTrial: what is preferred decides among those that keep the budget") {
  const std::vector<Trial> trials = {MakeTrial({0.93, 1900, 50}), MakeTrial({0.91, 400, 50}),
                                     MakeTrial({0.885, 200, 60}), MakeTrial({0.89, 1000, 10})};
  CHECK(Chosen(trials, Preference::kAccuracy) == 0);
  CHECK(Chosen(trials, Preference::kBalance) == 1);
  CHECK(Chosen(trials, Preference::kBytes) == 2);
  CHECK(Chosen(trials, Preference::kLatency) == 3);
}

TEST_CASE("DrawnSizes: the share behind, with every number of bits, and how much of it is worse") {
  const std::vector<Objectives> sizes = {{0, 100, 10}, {0, 200, 5}, {0, 400, 20}};
  const std::vector<std::uint8_t> bits = {8, 4};
  const DrawnSizes drawn(sizes, 4, bits);  // 200, 100; 400, 200; 800, 400 bytes.
  CHECK(drawn.ShareBehind({0, 100, 5}) == 1);
  CHECK(drawn.ShareBehind({0, 101, 5}) == doctest::Approx(5.0 / 6));
  CHECK(drawn.ShareBehind({0, 200, 10}) == doctest::Approx(0.5));
  CHECK(drawn.ShareBehind({0, 100, 21}) == 0);
  const AccuracySpread spread = SpreadOf(std::vector<double>{0.8, 0.9, 0.7});
  CHECK(spread.mean == doctest::Approx(0.8));
  CHECK(spread.deviation == doctest::Approx(0.0816).epsilon(0.01));
  CHECK(drawn.ExpectedShare({0.8, 200, 10}, spread) == doctest::Approx(0.25));
  CHECK(drawn.ExpectedShare({0.8 + spread.deviation, 100, 5}, spread) ==
        doctest::Approx(0.8413).epsilon(0.001));
  CHECK(DrawnSizes({}, 4, bits).ExpectedShare({1, 0, 0}, spread) == 0);
}

TEST_CASE("ChooseTrial: dominance prefers what most draws are larger, slower and worse than") {
  const std::vector<Trial> trials = {MakeTrial({0.93, 1900, 50}), MakeTrial({0.91, 400, 50}),
                                     MakeTrial({0.885, 200, 60}), MakeTrial({0.90, 600, 10})};
  const std::vector<Objectives> sizes = {{0, 500, 20}, {0, 700, 20}, {0, 900, 60}, {0, 2000, 70}};
  const std::vector<std::uint8_t> bits = {8};
  const DrawnSizes drawn(sizes, 8, bits);
  ChoiceRule rule{.budget = {.drop_points_max = 2, .bytes_max = 2000},
                  .prefer = Preference::kDominance};
  rule.drawn = &drawn;
  rule.spread = {0.89, 0.01};
  CHECK(ChooseTrial(trials, kTeacher, rule) == 3);  // 3 of 4 behind it, 84 % worse.
  rule.spread = {0.91, 0.01};
  CHECK(ChooseTrial(trials, kTeacher, rule) == 1);  // 2 of 4 and half, against 3 of 4 and 16 %.
}

TEST_CASE("ChooseTrial: only finalists within; of equals the smaller, then the first") {
  std::vector<Trial> trials = {MakeTrial({0.93, 100, 1}), MakeTrial({0.93, 50, 1}),
                               MakeTrial({0.90, 900, 5}), MakeTrial({0.90, 800, 5}),
                               MakeTrial({0.90, 800, 5})};
  trials[0].finalist = false;
  trials[1].within = false;
  CHECK(Chosen(trials, Preference::kAccuracy) == 3);
  CHECK(Chosen(trials, Preference::kBalance) == 3);
  for (Trial& trial : trials) trial.within = false;
  CHECK_FALSE(Chosen(trials, Preference::kBalance).has_value());
}

TEST_CASE("CornerOf: the bounds, and the model where there are none") {
  CHECK(CornerOf({.drop_points_max = 5}, kTeacher) == Objectives{0.90 - 0.05, 4000, 100});
  const Objectives bounded = CornerOf({0, 3000, 40}, kTeacher);
  CHECK(bounded == Objectives{0.90, 3000, 40});
  CHECK(CornerOf({0, 9000, 400}, kTeacher) == kTeacher);
}

TEST_CASE("WhyNot: each bound by name, measured time only where the device is this one") {
  ChoiceRule rule{.budget = {.drop_points_max = 1, .bytes_max = 500, .latency_us_max = 20}};
  CHECK(WhyNot(MakeTrial({0.89, 500, 20}), rule).empty());
  CHECK(WhyNot(MakeTrial({0.885, 500, 20}), rule).find("below the global") != std::string::npos);
  CHECK(WhyNot(MakeTrial({0.90, 501, 20}), rule).find("501 bytes") != std::string::npos);
  CHECK(WhyNot(MakeTrial({0.90, 500, 21}), rule).find("21.0 us") != std::string::npos);
  Trial slow = MakeTrial({0.90, 500, 20});
  slow.latency = Latency{.min_us = 30, .median_us = 31, .p99_us = 40, .microjoules = {}};
  CHECK(WhyNot(slow, rule).empty());
  rule.measured_here = true;
  CHECK(WhyNot(slow, rule).find("30.0 us when measured") != std::string::npos);
}

TEST_CASE("NameNearest: three finalists at most, the most accurate first") {
  std::vector<Trial> trials;
  for (const double accuracy : {0.5, 0.8, 0.7, 0.6}) trials.push_back(MakeTrial({accuracy, 10, 1}));
  trials[1].name = "best";
  const std::string text = NameNearest(trials, {.budget = {.drop_points_max = 1}});
  CHECK(text.starts_with(" best (10 bytes, 1.0 us), accuracy 80.00 %"));
  CHECK(text.find("70.00 %") < text.find("60.00 %"));
  CHECK(text.find("50.00 %") == std::string::npos);
}

}  // namespace
}  // namespace fl::deploy
