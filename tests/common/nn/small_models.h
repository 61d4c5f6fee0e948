#pragma once

#include <string>
#include <vector>

#include "fl/common/nn/build_graph.h"
#include "fl/common/random/rng_stream.h"
#include "fl/tests/support/result.h"

namespace fl::nn::testing {

inline Graph Build(const Shape& input, const std::vector<std::string>& layers,
                   std::string_view loss = "softmax_cross_entropy") {
  return fl::testing::Get(BuildGraph(input, layers, loss));
}

inline std::vector<float> Normals(std::size_t count, std::uint64_t seed) {
  std::vector<float> values(count);
  RngStream rng(seed);
  rng.FillNormal(values);
  return values;
}

inline std::vector<std::int32_t> Labels(std::size_t count, std::size_t classes,
                                        std::uint64_t seed) {
  std::vector<std::int32_t> labels(count);
  RngStream rng(seed);
  for (std::int32_t& label : labels) label = static_cast<std::int32_t>(rng.UniformInteger(classes));
  return labels;
}

}  // namespace fl::nn::testing
