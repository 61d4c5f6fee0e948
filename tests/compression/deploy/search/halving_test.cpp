#include "fl/compression/deploy/search/halving.h"

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

TEST_CASE("Survivors: in turn the smallest that may get there and the smallest that is there") {
  // 0.85 is wanted, 0.05 may still be won.
  const std::vector<Objectives> points = {
      {0.90, 400, 1}, {0.86, 300, 1}, {0.83, 200, 1}, {0.81, 100, 1}, {0.50, 10, 1}};
  CHECK(Survivors(points, {0.85, 0.05, 0, 1}) == Positions{3});
  CHECK(Survivors(points, {0.85, 0.05, 0, 2}) == Positions{1, 3});
  CHECK(Survivors(points, {0.85, 0.05, 0, 3}) == Positions{1, 2, 3});
  CHECK(Survivors(points, {0.85, 0.05, 0, 4}) == Positions{0, 1, 2, 3});
  CHECK(Survivors(points, {0.85, 0.05, 0, 9}) == Positions{0, 1, 2, 3, 4});
}

TEST_CASE("Survivors: what is there by less than the doubt is not safe") {
  const std::vector<Objectives> points = {{0.90, 400, 1}, {0.86, 300, 1}, {0.81, 100, 1}};
  CHECK(Survivors(points, {0.85, 0.05, 0.02, 2}) == Positions{0, 2});
  CHECK(Survivors(points, {0.85, 0.05, 0.2, 2}) == Positions{0, 2});
}

TEST_CASE("Survivors: what is dominated waits, what is hopeless comes last") {
  const std::vector<Objectives> points = {
      {0.86, 300, 1}, {0.86, 310, 1}, {0.86, 290, 5}, {0.20, 10, 1}, {0.30, 400, 1}};
  CHECK(Survivors(points, {0.85, 0.05, 0, 2}) == Positions{0, 2});
  CHECK(Survivors(points, {0.85, 0.05, 0, 3}) == Positions{0, 1, 2});
  // Of the hopeless the most accurate.
  CHECK(Survivors(points, {0.85, 0.05, 0, 4}) == Positions{0, 1, 2, 4});
  CHECK(Survivors({}, {0.85, 0.05, 0, 4}).empty());
  CHECK(Survivors(points, {0.85, 0.05, 0, 0}).empty());
}

}  // namespace
}  // namespace fl::deploy
