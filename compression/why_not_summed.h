#pragma once

#include <string>

#include "fl/compression/recipe.h"

namespace fl {

// Which stage of a recipe whose codec is not linear keeps updates from being summed as integers,
// and what to use instead, in words for the plan's author.
std::string WhyNotSummed(const Recipe& recipe);

}  // namespace fl
