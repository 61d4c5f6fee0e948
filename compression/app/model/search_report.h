#pragma once

#include <cstddef>
#include <string>

#include "fl/compression/deploy/search/auto_search.h"

namespace fl::model_app {

// How the lists that were drawn at random stand to what the search chose and found.
struct RandomComparison {
  std::size_t lists = 0;
  std::size_t within = 0;  // That keep every bound.
  std::size_t dominate_chosen = 0;
  std::size_t dominate_front = 0;  // A list of the search's front that keeps every bound.
  std::size_t dominated_by_chosen = 0;
  std::size_t dominated_by_front = 0;  // By such a list.
};
RandomComparison CompareWithRandom(const deploy::SearchOutcome& outcome);

// For people: a table of the finalists and of the front, what was chosen, the comparison where
// there is one.
std::string DrawSearch(const deploy::SearchOutcome& outcome);

// For machines: everything, with each trial's pass list as text.
std::string SearchToJson(const deploy::SearchOutcome& outcome);

}  // namespace fl::model_app
