#include <cstdint>
#include <sstream>

#include "fl/common/nn/build_graph.h"

// Lines: the layers of a network over an image of 28x28x1.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::istringstream text(std::string(data, data + size));
  std::vector<std::string> layers;
  for (std::string line; std::getline(text, line);) layers.push_back(line);
  const auto graph = fl::nn::BuildGraph({28, 28, 1}, layers, "softmax_cross_entropy");
  if (!graph) return 0;
  const auto lines = fl::nn::DescribeLayers(*graph);
  const auto again = fl::nn::BuildGraph({28, 28, 1}, lines, "softmax_cross_entropy");
  FL_CHECK(again && again->parameters == graph->parameters, "a description builds the same graph");
  return 0;
}
