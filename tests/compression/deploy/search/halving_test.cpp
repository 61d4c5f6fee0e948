#include "fl/compression/deploy/search/halving.h"

#include <cmath>

#include <doctest/doctest.h>

namespace fl::deploy {
namespace {

using Positions = std::vector<std::size_t>;

TEST_CASE("Dominates: as good in all and better in one") {
  const Objectives point{0.5, 100, 10};
  CHECK(Dominates({0.6, 100, 10}, point));
  CHECK(Dominates({0.5, 99, 10}, point));
  CHECK(Dominates({0.5, 100, 9}, point));
  CHECK_FALSE(Dominates(point, point));
  CHECK_FALSE(Dominates({0.6, 101, 10}, point));
  CHECK_FALSE(Dominates({0.6, 99, 11}, point));
}

TEST_CASE("FrontNumbers: front by front, equal points in one") {
  const std::vector<Objectives> points = {{0.9, 100, 10}, {0.8, 50, 10}, {0.8, 60, 10},
                                          {0.7, 60, 10},  {0.8, 50, 10}, {0.1, 500, 90}};
  CHECK(FrontNumbers(points) == Positions{0, 0, 1, 2, 0, 3});
  CHECK(FrontNumbers({}).empty());
}

TEST_CASE("DominatedVolume: the product of what one gains, what two have in common once") {
  const Objectives corner{0.5, 1000, 10};
  const std::vector<Objectives> one = {{0.6, 100, 1}};
  const double logarithm = std::log(10.0);
  CHECK(DominatedVolume(one, corner) == doctest::Approx(10 * logarithm * logarithm));
  // Half as accurate and as fast, but smaller: adds what lies below 100 bytes.
  const std::vector<Objectives> two = {{0.55, 10, 1}, {0.6, 100, 1}};
  CHECK(DominatedVolume(two, corner) == doctest::Approx(15 * logarithm * logarithm));
  const std::vector<Objectives> dominated = {{0.6, 100, 1}, {0.55, 200, 2}};
  CHECK(DominatedVolume(dominated, corner) == doctest::Approx(10 * logarithm * logarithm));
  // Better in two, no better in the third.
  const std::vector<Objectives> outside = {{0.5, 1, 1}, {0.9, 1000, 1}, {0.9, 1, 10}};
  CHECK(DominatedVolume(outside, corner) == 0);
  CHECK(DominatedVolume({}, corner) == 0);
}

TEST_CASE("Survivors: first what dominates most, then what adds most to it") {
  const Objectives corner{0.8, 1000, 10};
  const std::vector<Objectives> points = {
      {0.90, 500, 5}, {0.895, 510, 5}, {0.86, 100, 5}, {0.81, 10, 5}};
  CHECK(Survivors(points, corner, 1) == Positions{2});
  CHECK(Survivors(points, corner, 2) == Positions{0, 2});
  // What is nearly as good as another adds nothing, however good it is.
  CHECK(Survivors(points, corner, 3) == Positions{0, 2, 3});
  CHECK(Survivors(points, corner, 9) == Positions{0, 1, 2, 3});
}

TEST_CASE("Survivors: where nothing adds, the most accurate stay") {
  const Objectives corner{0.8, 1000, 10};
  const std::vector<Objectives> points = {
      {0.30, 10, 1}, {0.70, 400, 1}, {0.85, 300, 1}, {0.50, 10, 1}, {0.70, 500, 1}};
  CHECK(Survivors(points, corner, 1) == Positions{2});
  CHECK(Survivors(points, corner, 2) == Positions{1, 2});
  CHECK(Survivors(points, corner, 3) == Positions{1, 2, 4});
  CHECK(Survivors({}, corner, 4).empty());
  CHECK(Survivors(points, corner, 0).empty());
}

}  // namespace
}  // namespace fl::deploy
