#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fl/common/data/dataset.h"
#include "fl/common/data/subset.h"
#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/evaluate.h"
#include "fl/common/nn/initialize.h"
#include "fl/common/nn/visit_outputs.h"
#include "fl/compression/deploy/sensitivity.h"
#include "fl/tests/support/result.h"

namespace fl::deploy::testing {

// Two branches of one size, of which one is added at a thirtieth: it can do with few bits, which no
// uniform choice gives it. The labels are what the network itself says.
struct Branches {
  nn::Graph graph = fl::testing::Get(nn::BuildGraph(
      Shape{16},
      std::vector<std::string>{"dense 32", "relu", "loud: dense 32", "soft: dense 32 from=relu1",
                               "add loud soft", "relu", "head: dense 8"},
      "softmax_cross_entropy"));
  std::vector<float> parameters = nn::InitializeParameters(graph, RngStream(7)).values;
  std::vector<float> values = std::vector<float>(2 * kCount * 16);
  std::vector<std::int32_t> labels;

  static constexpr std::size_t kCount = 256;  // Seen samples, and as many unseen.
  Branches() {
    RngStream(8).FillNormal(values);
    const std::size_t soft = graph.parameters.offset(*graph.parameters.Find("soft.weight"));
    for (std::size_t i = 0; i < 1024; ++i) parameters[soft + i] /= 30;
    // Sure of itself, as a trained network is.
    const std::size_t last = graph.parameters.offset(*graph.parameters.Find("head.weight"));
    for (std::size_t i = 0; i < 256; ++i) parameters[last + i] *= 20;
    const std::vector<float> logits = Logits(parameters, Seen());
    for (std::size_t i = 0; i < kCount; ++i) {
      labels.push_back(static_cast<std::int32_t>(nn::ArgMax(std::span(logits).subspan(i * 8, 8))));
    }
  }
  nn::SampleValues Seen() const { return {std::span(values).first(kCount * 16), kCount}; }
  nn::SampleValues Unseen() const { return {std::span(values).subspan(kCount * 16), kCount}; }
  LabelledSamples Labelled() const { return {Seen(), labels}; }
  // The seen samples, as a data set.
  data::Subset SeenSubset() const {
    data::Samples samples;
    samples.shape = Shape{16};
    samples.features = std::vector<float>(values.begin(), values.begin() + kCount * 16);
    samples.labels = labels;
    samples.classes = 8;
    return data::Subset(std::make_shared<data::Dataset>(
        fl::testing::Get(data::Dataset::Create(std::move(samples)))));
  }
  std::vector<float> Logits(std::span<const float> with, const nn::SampleValues& samples) const {
    return fl::testing::Get(nn::OutputsOf(graph, with, samples, graph.nodes.size() - 1));
  }
};

}  // namespace fl::deploy::testing
