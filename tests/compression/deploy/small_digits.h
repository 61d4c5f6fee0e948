#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "fl/common/data/source.h"
#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/evaluate.h"
#include "fl/common/nn/gradient.h"
#include "fl/common/nn/initialize.h"
#include "fl/common/nn/optimizer.h"
#include "fl/common/nn/session.h"
#include "fl/common/nn/visit_outputs.h"
#include "fl/tests/support/keep_trained.h"
#include "fl/tests/support/result.h"

namespace fl::deploy::testing {

// One part of mnist-mini: images in [0, 1] one after the other, and their labels.
struct Digits {
  std::vector<float> images;
  std::vector<std::int32_t> labels;

  explicit Digits(std::string_view part) {
    data::SourceOptions options;
    options.root = FL_TEST_SOURCE_DIR "/data";
    options.shape = Shape{28, 28, 1};
    const auto dataset =
        fl::testing::Get(data::OpenSource("idx:mnist-mini/" + std::string(part), options));
    images.resize(dataset->count() * 784);
    for (std::size_t i = 0; i < dataset->count(); ++i) {
      dataset->CopySample(i, std::span(images).subspan(i * 784, 784));
      labels.push_back(dataset->labels()[i]);
    }
    for (float& pixel : images) pixel /= 255;
  }
  nn::SampleValues First(std::size_t count) const {
    return {std::span(images).first(count * 784), count};
  }
};

inline const Digits& TrainDigits() {
  static const Digits digits("train");
  return digits;
}
inline const Digits& TestDigits() {
  static const Digits digits("test");
  return digits;
}

// A small network trained on mnist-mini for a second or two.
struct DigitsModel {
  nn::Graph graph;
  std::vector<float> parameters;

  explicit DigitsModel(const std::vector<std::string>& layers, std::size_t steps = 500)
      : graph(fl::testing::Get(nn::BuildGraph(Shape{28, 28, 1}, layers, "softmax_cross_entropy"))) {
    parameters = fl::testing::KeepTrained("small digits " + std::to_string(steps), layers,
                                          [&] { return Train(steps); });
  }

  std::vector<float> Train(std::size_t steps) const {
    std::vector<float> values = nn::InitializeParameters(graph, RngStream(3)).values;
    constexpr std::size_t kBatch = 32;
    const Digits& digits = TrainDigits();
    nn::TrainingStep step = fl::testing::Get(nn::TrainingStep::Create(graph, kBatch));
    nn::SgdConfig config;
    config.learning_rate = 0.05;
    config.momentum = 0.9;
    config.gradient_clip = 2;
    nn::Sgd sgd(config, values.size());
    std::vector<float> gradient(values.size());
    for (std::size_t i = 0; i < steps; ++i) {
      if (i == steps * 3 / 4) {
        config.learning_rate /= 10;
        sgd = nn::Sgd(config, values.size());
      }
      const std::size_t first = i * kBatch % (digits.labels.size() - kBatch);
      nn::TrainingBatch batch;
      batch.count = kBatch;
      batch.input = std::span(digits.images).subspan(first * 784, kBatch * 784);
      batch.labels = std::span(digits.labels).subspan(first, kBatch);
      step.Compute(values, batch, gradient);
      sgd.Step(gradient, {}, values);
    }
    return values;
  }

  std::vector<float> Logits(std::span<const float> with) const {
    return fl::testing::Get(nn::OutputsOf(
        graph, with, {TestDigits().images, TestDigits().labels.size()}, graph.nodes.size() - 1));
  }
  // Share of the test digits that are told rightly.
  double Accuracy(std::span<const float> with) const {
    const std::vector<float> logits = Logits(with);
    std::size_t right = 0;
    for (std::size_t i = 0; i < TestDigits().labels.size(); ++i) {
      const std::size_t said = nn::ArgMax(std::span(logits).subspan(i * 10, 10));
      right += said == static_cast<std::size_t>(TestDigits().labels[i]) ? 1 : 0;
    }
    return static_cast<double>(right) / static_cast<double>(TestDigits().labels.size());
  }
  // Mean squared distance of the logits from those of the trained model.
  double LogitError(std::span<const float> with) const {
    const std::vector<float> wanted = Logits(parameters);
    const std::vector<float> found = Logits(with);
    double sum = 0;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      const double lost = static_cast<double>(wanted[i]) - static_cast<double>(found[i]);
      sum += lost * lost;
    }
    return sum / static_cast<double>(wanted.size());
  }
};

inline const DigitsModel& SmallConvolutions() {
  static const DigitsModel model({"conv 8 5x5 stride=2", "relu", "conv 16 3x3 stride=2", "relu",
                                  "flatten", "dense 32", "relu", "dense 10"});
  return model;
}

}  // namespace fl::deploy::testing
