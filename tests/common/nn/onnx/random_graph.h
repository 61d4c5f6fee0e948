#pragma once

#include <string>
#include <vector>

#include "fl/common/nn/calibrate.h"
#include "fl/common/nn/initialize.h"
#include "fl/common/nn/model_file.h"
#include "fl/tests/common/nn/small_models.h"

namespace fl::onnx::testing {

struct RandomGraphOptions {
  bool batch_norms = true;  // Which int8 does not have.
  std::size_t layers = 7;
};

// Draws the lines of a small network of any operators, branches among them.
class RandomGraph {
 public:
  RandomGraph(RngStream& rng, const RandomGraphOptions& options) : rng_(rng), options_(options) {}

  nn::Graph Draw() {
    input_ = Shape{4 + Pick(5), 4 + Pick(5), 1 + Pick(4)};
    for (std::size_t i = 0; i < options_.layers; ++i) AddImageLayer();
    const char* const leave[] = {"flatten", "global_avgpool", "flatten"};
    Add(leave[Pick(3)]);
    if (Pick(2) == 0) Add("relu");
    if (Pick(3) == 0) Join();
    Add("dense " + std::to_string(3 + Pick(6)));
    if (Pick(2) == 0) Add(options_.batch_norms && Pick(2) == 0 ? "batchnorm" : "layernorm");
    AddActivation();
    Add("dense 3");
    return graph();
  }

 private:
  std::size_t Pick(std::uint64_t count) {
    return static_cast<std::size_t>(rng_.UniformInteger(count));
  }
  nn::Graph graph() const { return nn::testing::Build(input_, lines_, "mean_squared_error"); }
  Shape shape() const { return lines_.empty() ? input_ : graph().output_shape(); }

  void Add(const std::string& line) {
    lines_.push_back("layer" + std::to_string(lines_.size()) + ": " + line);
  }

  void AddActivation() {
    const char* const kinds[] = {"relu", "relu6", "hard_swish", "sigmoid", "tanh"};
    Add(kinds[Pick(5)]);
  }

  void AddWindow(const std::string& start, bool grouped) {
    const Shape now = shape();
    const std::size_t kernel = 1 + Pick(3);
    const bool same = Pick(2) == 0 || now[0] < 4 || now[1] < 4;
    std::string line = start + " " + std::to_string(kernel) + "x" + std::to_string(1 + Pick(3)) +
                       " stride=" + std::to_string(1 + Pick(2)) + (same ? " same" : " valid");
    if (grouped && now[2] % 2 == 0) line += " groups=2";
    Add(line);
  }

  // A layer that has the same shape as the last one joins it.
  void Join() {
    const nn::Graph now = lines_.empty() ? nn::Graph{} : graph();
    for (std::size_t i = 1; i + 1 < now.nodes.size(); ++i) {
      if (now.nodes[i].shape != now.output_shape()) continue;
      const char* const kinds[] = {"add ", "multiply ", "concat "};
      Add(kinds[Pick(3)] + now.nodes[i].name);
      return;
    }
  }

  void AddImageLayer() {
    switch (Pick(options_.batch_norms ? 10 : 9)) {
      case 0:
      case 1:
        return AddWindow("conv " + std::to_string(2 * (1 + Pick(3))), Pick(2) == 0);
      case 2:
        return AddWindow("depthwise", false);
      case 3:
        return AddWindow(Pick(2) == 0 ? "maxpool" : "avgpool", false);
      case 4: {
        const Shape now = shape();
        return Add("reshape " + Shape{now[2], now[0], now[1]}.ToText());
      }
      case 5:
        return Join();
      case 8:
        return Add("layernorm");
      case 9:
        return Add("batchnorm");
      default:
        return AddActivation();
    }
  }

  RngStream& rng_;
  RandomGraphOptions options_;
  Shape input_;
  std::vector<std::string> lines_;
};

inline std::vector<float> RandomParameters(const nn::Graph& graph, std::uint64_t seed) {
  std::vector<float> values = nn::testing::Normals(graph.parameters.total(), seed);
  for (float& value : values) value *= 0.4F;
  for (const std::size_t tensor : graph.statistics) {
    for (std::size_t i = 0; i < graph.parameters[tensor].shape.count(); ++i) {
      float& value = values[graph.parameters.offset(tensor) + i];
      value = value * value + 0.5F;  // A variance is not negative.
    }
  }
  return values;
}

inline nn::QuantizedModel RandomQuantized(const nn::Graph& graph, std::uint64_t seed) {
  const std::vector<float> parameters = RandomParameters(graph, seed);
  const std::vector<float> samples = nn::testing::Normals(16 * graph.input_shape().count(), seed);
  const auto ranges =
      fl::testing::Get(nn::ObserveRanges(graph, parameters, samples, 16, nn::RangeMethod::kMinMax));
  return fl::testing::Get(nn::Quantize(graph, parameters, ranges));
}

}  // namespace fl::onnx::testing
