#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "fl/compression/deploy/search/pareto.h"

namespace fl::deploy {

// Who stays after a rung of successive halving (Jamieson & Talwalkar 2016, arXiv:1502.07943): the
// `places` points that dominate most together (DominatedVolume above `corner`), picked one after
// the other by what each adds (greedy subset selection; Guerreiro et al. 2016,
// doi:10.1162/EVCO_a_00159), so that points of different size stay, each the most accurate of about
// its size. Places that are left when nothing adds more go to the most accurate of the rest. The
// positions, ascending; of equals the lower ones. Thread safety: pure function.
std::vector<std::size_t> Survivors(std::span<const Objectives> points, const Objectives& corner,
                                   std::size_t places);

}  // namespace fl::deploy
