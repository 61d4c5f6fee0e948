#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "fl/compression/deploy/search/pareto.h"

namespace fl::deploy {

// Who stays after a rung of successive halving (Jamieson & Talwalkar 2016, arXiv:1502.07943), when
// the smallest model of at least `wanted` accuracy is looked for.
struct HalvingRule {
  double wanted = 0;       // Accuracy, in [0, 1].
  double allowance = 0;    // What further training may still win, a share of 1.
  double doubt = 0;        // How far measured accuracies lie off, a share of 1.
  std::size_t places = 1;  // That are left.
};

// The positions of those that stay, ascending. Front by front (FrontNumbers), in turn the smallest
// that may still get there (wanted - allowance) and the smallest that surely is there already
// (wanted + doubt), or else the most accurate; places that are left go to the most accurate of the
// rest. Smaller: fewer bytes, then less time, then the lower position. Thread safety: pure
// function.
std::vector<std::size_t> Survivors(std::span<const Objectives> points, const HalvingRule& rule);

}  // namespace fl::deploy
