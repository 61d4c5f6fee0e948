#include "fl/server/publish/released_model.h"

#include <algorithm>

#include "fl/common/base/check.h"

namespace fl::server {

double AverageDecay(std::uint64_t version, double decay_max) {
  FL_CHECK(version >= 1, "version 0 is no average");
  const auto t = static_cast<double>(version);
  return std::min(decay_max, (t - 1) / (t + 3));
}

std::vector<float> AverageModel(std::span<const float> average, std::span<const float> wanted,
                                double decay) {
  FL_CHECK(average.size() == wanted.size(), "the versions have one layout");
  std::vector<float> next(wanted.size());
  for (std::size_t i = 0; i < next.size(); ++i) {
    next[i] = static_cast<float>(decay * double{average[i]} + (1 - decay) * double{wanted[i]});
  }
  return next;
}

}  // namespace fl::server
