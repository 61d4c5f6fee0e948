#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/initialize.h"
#include "fl/common/random/rng_stream.h"
#include "fl/tests/support/result.h"

namespace fl::deploy::testing {

// Random networks over 8x8 images of 3 channels with every operator, branches and heads: what
// passes that edit graphs must cope with.
class RandomGraph {
 public:
  explicit RandomGraph(RngStream rng) : rng_(rng) {}

  nn::Graph Build() {
    Layer("conv " + std::to_string(Channels()) + " 3x3 same");
    const std::size_t blocks = 2 + rng_.UniformInteger(4);
    for (std::size_t i = 0; i < blocks; ++i) AppendBlock();
    if (rng_.UniformInteger(2) == 0) {
      Layer("global_avgpool");
    } else {
      Layer("flatten");
    }
    Layer("dense " + std::to_string(8 + rng_.UniformInteger(9)));
    Activation();
    if (rng_.UniformInteger(3) == 0) Layer("layernorm");
    if (rng_.UniformInteger(3) == 0) Layer("batchnorm");
    Layer("dense 4");
    return Parse();
  }

 private:
  static std::string Text(std::size_t number) { return std::to_string(number); }
  std::size_t Channels() { return 2 * (2 + rng_.UniformInteger(5)); }

  nn::Graph Parse() const {
    return fl::testing::Get(nn::BuildGraph(Shape{8, 8, 3}, lines_, "softmax_cross_entropy"));
  }
  Shape Now() const {
    // A loss without demands on the output.
    return fl::testing::Get(nn::BuildGraph(Shape{8, 8, 3}, lines_, "mean_squared_error"))
        .output_shape();
  }
  std::string Layer(const std::string& operation) {
    std::string name = "node" + std::to_string(lines_.size());
    lines_.push_back(name + ": " + operation);
    return name;
  }
  std::string Last() const { return "node" + std::to_string(lines_.size() - 1); }

  void Activation() {
    const char* const kinds[] = {"relu", "relu6", "hard_swish", "sigmoid", "tanh"};
    Layer(kinds[rng_.UniformInteger(5)]);
  }

  void AppendBlock() {
    const Shape shape = Now();
    const std::string before = Last();
    switch (rng_.UniformInteger(9)) {
      case 0:
        Layer("conv " + Text(Channels()) + (shape[0] >= 3 ? " 3x3 valid" : " 1x1"));
        Layer("batchnorm");
        return Activation();
      case 1:
        Layer(rng_.UniformInteger(2) == 0 ? "depthwise 3x3 same" : "depthwise 1x1");
        return Activation();
      case 2:
        if (shape[0] >= 2) Layer(rng_.UniformInteger(2) == 0 ? "maxpool 2" : "avgpool 2");
        return;
      case 3:
        Layer("conv " + Text(shape[2]) + " 1x1");
        Activation();
        Layer("add " + before);
        return;
      case 4: {
        const std::string branch = Layer("conv " + Text(Channels()) + " 3x3 same");
        Activation();
        Layer("conv " + Text(Channels()) + " 1x1 from=" + before);
        Layer("concat " + branch);
        return;
      }
      case 5:
        Layer("global_avgpool");
        Layer("dense " + Text(Channels()));
        Layer("relu");
        Layer("dense " + Text(shape[2]));
        Layer("sigmoid");
        Layer("multiply " + Last() + " from=" + before);
        return;
      case 6:
        if (shape[2] % 2 == 0) Layer("conv " + Text(Channels()) + " 1x1 groups=2");
        return Activation();
      case 7:
        Layer("reshape " + Shape{shape[0] * shape[1], 1, shape[2]}.ToText());
        Layer("reshape " + shape.ToText());
        return;
      default:  // A head that nobody reads.
        Layer("conv 3 1x1");
        Layer("layernorm from=" + before);
        return Activation();
    }
  }

  RngStream rng_;
  std::vector<std::string> lines_;
};

// Parameters as of a model that has been trained: biases and norms that are not at their start.
inline std::vector<float> RandomParameters(const nn::Graph& graph, RngStream rng) {
  NamedTensors parameters = nn::InitializeParameters(graph, rng);
  for (std::size_t i = 0; i < parameters.layout.size(); ++i) {
    const std::string& name = parameters.layout[i].name;
    if (name.ends_with(".weight")) continue;
    for (float& value : parameters.tensor(i)) {
      value += 0.3F * rng.Normal();
      if (name.ends_with(".variance")) value = 0.2F + std::abs(value);
    }
  }
  return parameters.values;
}

}  // namespace fl::deploy::testing
