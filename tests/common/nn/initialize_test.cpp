#include "fl/common/nn/initialize.h"

#include <algorithm>
#include <cmath>

#include <doctest/doctest.h>

#include "fl/common/base/bytes.h"
#include "fl/tests/common/nn/small_models.h"

namespace fl::nn {
namespace {

TEST_CASE("InitializeParameters: the bits are the golden ones") {
  const Graph graph = testing::Build({8, 8, 3}, {"conv 5 3x3", "relu", "flatten", "dense 10"});
  const NamedTensors parameters = InitializeParameters(graph, RngStream(1).Child("model"));
  CHECK(Crc32(std::as_bytes(std::span(parameters.values))) == 3934656501U);
}

TEST_CASE("InitializeParameters: values fill the range of one over the root of the inputs") {
  const Graph graph = testing::Build({100}, {"dense 50"});
  const NamedTensors parameters = InitializeParameters(graph, RngStream(1));
  float largest = 0;
  for (const float value : parameters.values) largest = std::max(largest, std::abs(value));
  CHECK(largest <= 0.1F);
  CHECK(largest > 0.099F);
}

}  // namespace
}  // namespace fl::nn
