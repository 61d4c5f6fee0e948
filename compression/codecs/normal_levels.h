#pragma once

#include <span>

namespace fl {

// The levels of 2^bits, 1 to 8 bits, ascending, with the least mean squared error for values of a
// standard normal distribution (Lloyd 1982, doi:10.1109/TIT.1982.1056489; Max 1960): each is the
// mean of the values that are nearest to it. The error is 0.3634, 0.1175, 0.03455, 0.009501,
// 0.002505, 0.000644, 0.000163 and 0.0000412. Constants, rounded to eight digits: part of the
// formats of Lloyd and Eden.
std::span<const float> NormalLevels(unsigned bits);

// Between neighbouring levels half way: 2^bits - 1 of them.
std::span<const float> NormalThresholds(unsigned bits);

}  // namespace fl
