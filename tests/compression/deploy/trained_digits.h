#pragma once

#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "fl/common/data/source.h"
#include "fl/common/data/subset.h"
#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/gradient.h"
#include "fl/common/nn/initialize.h"
#include "fl/common/nn/optimizer.h"
#include "fl/compression/deploy/gate.h"
#include "fl/tests/support/keep_trained.h"
#include "fl/tests/support/result.h"

namespace fl::deploy::testing {

using Lines = std::vector<std::string>;
using fl::testing::CodeOf;
using fl::testing::Get;

// A small network, trained on mnist-mini for four passes, and 200 of its training images.
struct TrainedDigits {
  explicit TrainedDigits(const Lines& lines) : training(Load("train")), unseen(Load("test")) {
    graph = Get(nn::BuildGraph(Shape{28, 28, 1}, lines, "softmax_cross_entropy"));
    parameters = fl::testing::KeepTrained("trained digits", lines, [this] { return Train(); });
    samples.resize(kSamples * 784);
    for (std::size_t i = 0; i < kSamples; ++i)
      training.CopySample(i, std::span(samples).subspan(i * 784, 784));
  }

  static data::Subset Load(const std::string& part) {
    data::SourceOptions options;
    options.root = FL_TEST_SOURCE_DIR "/data";
    options.shape = Shape{28, 28, 1};
    options.classes = 10;
    options.normalization.kind = data::Normalization::Kind::kUnit;
    return data::Subset(Get(data::OpenSource("idx:mnist-mini/" + part, options)));
  }

  std::vector<float> Train() const {
    std::vector<float> values = nn::InitializeParameters(graph, RngStream(1)).values;
    constexpr std::size_t kBatch = 25;
    nn::TrainingStep step = Get(nn::TrainingStep::Create(graph, kBatch));
    nn::SgdConfig config;
    config.learning_rate = 0.01;
    config.momentum = 0.9;
    config.warm_up_steps = 50;
    nn::Sgd sgd(config, graph);
    std::vector<float> gradient(values.size());
    std::vector<float> input(kBatch * 784);
    std::vector<std::int32_t> labels(kBatch);
    for (std::size_t at = 0; at < 4 * training.count(); at += kBatch) {
      std::vector<std::uint32_t> positions(kBatch);
      std::iota(positions.begin(), positions.end(),
                static_cast<std::uint32_t>(at % training.count()));
      training.CopySamples(positions, input);
      for (std::size_t i = 0; i < kBatch; ++i) labels[i] = training.label(positions[i]);
      nn::TrainingBatch batch;
      batch.count = kBatch;
      batch.input = input;
      batch.labels = labels;
      step.Compute(values, batch, gradient);
      sgd.Step(gradient, {}, values);
    }
    return values;
  }

  double AccuracyOf(const nn::Graph& of, std::span<const float> values) const {
    return Get(Accuracy(of, values, unseen));
  }
  static constexpr std::size_t kSamples = 200;
  data::Subset training;
  data::Subset unseen;
  nn::Graph graph;
  std::vector<float> parameters;
  std::vector<float> samples;
};

inline const TrainedDigits& Convolutions() {
  static const TrainedDigits digits({"maxpool 2", "conv 16 3x3", "relu", "maxpool 2",
                                     "conv 32 3x3 same", "relu", "maxpool 3", "flatten",
                                     "dense 10"});
  return digits;
}

inline const TrainedDigits& Perceptron() {
  static const TrainedDigits digits(
      {"maxpool 2", "flatten", "dense 48", "relu", "dense 32", "relu", "dense 10"});
  return digits;
}

}  // namespace fl::deploy::testing
