#pragma once

#include <string>
#include <vector>

#include "fl/common/nn/build_graph.h"
#include "fl/common/random/rng_stream.h"
#include "fl/tests/support/result.h"

namespace fl::nn::testing {

// A random network of `layers` layers that an integer model can hold: branches, pools, all
// convolutions, functions. The shape of each layer is what the ones before it leave.
class RandomGraph {
 public:
  explicit RandomGraph(std::uint64_t seed) : rng_(seed) {}

  Graph Make(std::size_t layers) {
    const Shape input{5 + Below(6), 4 + Below(6), 1 + Below(5)};
    for (std::size_t i = 0; i < layers; ++i) {
      graph_ = fl::testing::Get(BuildGraph(input, Lines(), "softmax_cross_entropy"));
      lines_.push_back("n" + std::to_string(i) + ": " + ImageLayer());
    }
    lines_.push_back(Below(2) == 0 ? "flatten" : "global_avgpool");
    lines_.push_back("dense " + Text(3 + Below(40)));
    lines_.push_back(Choice({"relu", "layernorm", "tanh", "relu6", "reshape 1x1x" + LastUnits()}));
    lines_.push_back("flatten");
    const std::size_t end = Below(3);
    if (end > 0) lines_.push_back("dense " + Text(2 + Below(20)));
    if (end > 1) lines_.push_back("relu");
    return fl::testing::Get(BuildGraph(input, lines_, "mean_squared_error"));
  }

 private:
  static std::string Text(std::size_t value) { return std::to_string(value); }
  std::size_t Below(std::size_t bound) {
    return static_cast<std::size_t>(rng_.UniformInteger(bound));
  }
  std::string Choice(const std::vector<std::string>& from) { return from[Below(from.size())]; }
  std::string LastUnits() const { return lines_.back().substr(6); }

  // What is there so far, with an end that BuildGraph accepts.
  std::vector<std::string> Lines() const {
    std::vector<std::string> lines = lines_;
    lines.insert(lines.end(), {"flatten", "dense 2"});
    return lines;
  }

  // A node before the two of the end whose shape satisfies `fits`, other than the last one; empty
  // when there is none.
  template <typename Fits>
  std::string Earlier(const Fits& fits) {
    std::vector<std::string> names;
    for (std::size_t i = 0; i + 3 < graph_.nodes.size(); ++i) {
      if (fits(graph_.nodes[i].shape)) names.push_back(graph_.nodes[i].name);
    }
    return names.empty() ? "" : names[Below(names.size())];
  }

  std::string ImageLayer() {
    const Shape& shape = graph_.nodes[graph_.nodes.size() - 3].shape;
    const std::string kernel = Text(1 + Below(std::min<std::size_t>(shape[0], 3))) + "x" +
                               Text(1 + Below(std::min<std::size_t>(shape[1], 3)));
    const std::string padding = Choice({" same", " valid"});
    const std::string stride = Choice({"", "", " stride=2"});
    switch (Below(10)) {
      case 0:
      case 1:
        return "conv " + Text(1 + Below(35)) + " " + kernel + stride + padding;
      case 2:
        return "conv " + Text(shape[2] * (1 + Below(3))) + " " + kernel + padding +
               " groups=" + Text(shape[2]);
      case 3:
        return "depthwise " + kernel + stride + padding;
      case 4:
        return Choice({"maxpool ", "avgpool "}) + kernel + " stride=" + Text(1 + Below(2)) +
               padding;
      case 5:
      case 6:
        return Choice({"relu", "relu6", "hard_swish", "sigmoid", "tanh", "layernorm"});
      case 7:
      case 8:
        return Combination(shape);
      default:
        return "maxpool 2 same";
    }
  }

  std::string Combination(const Shape& shape) {
    const std::string same = Earlier([&](const Shape& other) { return other == shape; });
    if (!same.empty()) return Choice({"add ", "multiply "}) + same;
    const std::string joined = Earlier([&](const Shape& other) {
      return other.rank() == 3 && other[0] == shape[0] && other[1] == shape[1];
    });
    return joined.empty() ? "relu" : "concat " + joined;
  }

  RngStream rng_;
  std::vector<std::string> lines_;
  Graph graph_;
};

}  // namespace fl::nn::testing
