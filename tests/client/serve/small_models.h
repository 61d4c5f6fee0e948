#pragma once

#include <string>
#include <vector>

#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/calibrate.h"
#include "fl/common/nn/model_file.h"
#include "fl/tests/support/result.h"

namespace fl::client::testing {

inline constexpr std::size_t kSmallClasses = 3;

// Four features, three classes: class c adds up feature c and, for `favourite`, ten. So a model is
// told from the others by what it answers to zeros.
inline nn::FloatModel SmallModel(std::size_t favourite) {
  const std::vector<std::string> layers = {"dense 3"};
  nn::FloatModel model;
  model.graph = fl::testing::Get(nn::BuildGraph(Shape{4}, layers, "softmax_cross_entropy"));
  model.parameters.assign(model.graph.parameters.total(), 0);
  for (std::size_t i = 0; i < kSmallClasses; ++i) model.parameters[i * kSmallClasses + i] = 1;
  model.parameters[4 * kSmallClasses + favourite] = 10;
  return model;
}

inline Bytes SmallModelFile(std::size_t favourite, const std::string& normalization = {}) {
  nn::ModelFile file{SmallModel(favourite), {"ant", "bee", "cat"}, normalization, {}};
  file.notes["federation"] = "insects";
  file.notes["accuracy"] = "0.75";
  return nn::SerializeModelFile(file);
}

// The same with integers.
inline Bytes SmallIntegerFile(std::size_t favourite) {
  const nn::FloatModel model = SmallModel(favourite);
  const std::vector<float> samples = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
  const auto ranges = fl::testing::Get(
      nn::ObserveRanges(model.graph, model.parameters, samples, 4, nn::RangeMethod::kMinMax));
  const auto integers = fl::testing::Get(nn::Quantize(model.graph, model.parameters, ranges));
  return nn::SerializeModelFile({integers, {"ant", "bee", "cat"}, {}, {}});
}

}  // namespace fl::client::testing
