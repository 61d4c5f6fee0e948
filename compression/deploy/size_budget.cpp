#include "fl/compression/deploy/size_budget.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace fl::deploy {
namespace {

double Bound(double share, double most, double whole) {
  double bound = std::numeric_limits<double>::infinity();
  if (share > 0) bound = share * whole;
  if (most > 0) bound = std::min(bound, most);
  return bound;
}

}  // namespace

ModelSize SizeBudget::AtMost(const ModelSize& whole) const {
  return {Bound(macs_share, macs_max, whole.macs),
          Bound(parameters_share, parameters_max, whole.parameters)};
}

bool Fits(const ModelSize& size, const ModelSize& at_most) {
  return size.macs <= at_most.macs && size.parameters <= at_most.parameters;
}

std::string WhyUnreached(const ModelSize& size, const ModelSize& at_most, std::string_view reason) {
  std::string why;
  const auto compare = [&](double found, double most, const char* what) {
    if (found <= most) return;
    why += (why.empty() ? "expected at most " : " and ") + std::to_string(std::llround(most)) +
           " " + what + ", reached " + std::to_string(std::llround(found));
  };
  compare(size.macs, at_most.macs, "MACs");
  compare(size.parameters, at_most.parameters, "parameters");
  return why.empty() ? why : why + ", " + std::string(reason);
}

}  // namespace fl::deploy
