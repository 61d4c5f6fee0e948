#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "fl/common/base/result.h"

namespace fl::deploy {

// What one way to code one layer costs (bytes, microseconds, ...) and loses.
struct LayerOption {
  double cost = 0;  // >= 0.
  double loss = 0;
};

struct Allocation {
  std::vector<std::size_t> chosen;  // One option for each layer.
  double cost = 0;                  // Sums over the layers.
  double loss = 0;
};

// The options, one for each layer, whose losses add up to the least while their costs stay within
// the budget: exact, by dynamic programming over the (cost, loss) pairs that no other beats (of
// ties the one of lower cost, then of earlier options). Only where more than 65536 such pairs
// remain are those of nearly one cost taken as one; the budget holds also then. Instead of the
// integer program of HAWQ-V3 (Yao et al. 2021, arXiv:2011.10680), since models have at most some
// dozens of layers.
// kInvalidArgument: a layer without options, numbers that are not finite, or a budget that even the
// cheapest options exceed; the message then says, in `unit`, what the least is.
Result<Allocation> Allocate(std::span<const std::vector<LayerOption>> layers, double budget,
                            std::string_view unit);

}  // namespace fl::deploy
