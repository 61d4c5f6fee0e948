#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "fl/common/data/source.h"
#include "fl/common/data/subset.h"
#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/gradient.h"
#include "fl/common/nn/initialize.h"
#include "fl/common/nn/optimizer.h"
#include "fl/common/nn/session.h"
#include "fl/tests/support/result.h"

namespace fl::deploy::testing {

// Handwritten digits and a small network that is trained on them in a second or two.
struct Digits {
  data::Subset training = Open("idx:mnist-mini/train");
  data::Subset test = Open("idx:mnist-mini/test");

  static data::Subset Open(const char* source) {
    data::SourceOptions options;
    options.root = FL_TEST_SOURCE_DIR "/data";
    options.shape = Shape{28, 28, 1};
    options.classes = 10;
    options.normalization = {.kind = data::Normalization::Kind::kUnit};
    return data::Subset(fl::testing::Get(data::OpenSource(source, options)));
  }
  static nn::Graph Build(const std::vector<std::string>& lines) {
    return fl::testing::Get(nn::BuildGraph(Shape{28, 28, 1}, lines, "softmax_cross_entropy"));
  }

  struct Training {
    std::size_t steps = 300;
    double learning_rate = 0.05;
    double weight_decay = 0;
    std::uint64_t seed = 1;
    // May change the gradient before each step, and the parameters after it.
    std::function<void(std::span<const float> parameters, std::span<float> gradient)> adjust;
    std::function<void(std::span<float> parameters)> settle;
  };
  // Continues from the parameters.
  void Train(const nn::Graph& graph, const Training& settings,
             std::vector<float>& parameters) const {
    constexpr std::size_t kBatch = 32;
    nn::TrainingStep step = fl::testing::Get(nn::TrainingStep::Create(graph, kBatch));
    nn::Sgd sgd({.learning_rate = settings.learning_rate,
                 .momentum = 0.9,
                 .weight_decay = settings.weight_decay,
                 .gradient_clip = 2},
                graph);
    RngStream rng(settings.seed);
    std::vector<float> gradient(parameters.size());
    std::vector<float> input(kBatch * 28 * 28);
    std::vector<std::uint32_t> positions(kBatch);
    std::vector<std::int32_t> labels(kBatch);
    for (std::size_t i = 0; i < settings.steps; ++i) {
      for (std::size_t k = 0; k < kBatch; ++k) {
        positions[k] = static_cast<std::uint32_t>(rng.UniformInteger(training.count()));
        labels[k] = training.label(positions[k]);
      }
      training.CopySamples(positions, input);
      nn::TrainingBatch batch;
      batch.count = kBatch;
      batch.input = input;
      batch.labels = labels;
      step.Compute(parameters, batch, gradient);
      if (settings.adjust) settings.adjust(parameters, gradient);
      sgd.Step(gradient, {}, parameters);
      step.UpdateStatistics(parameters);
      if (settings.settle) settings.settle(parameters);
    }
  }

  // Share of the test samples that are answered rightly.
  double Accuracy(const nn::Graph& graph, std::span<const float> parameters) const {
    const std::size_t count = test.count();
    nn::Session session = fl::testing::Get(nn::Session::Create(graph, count));
    std::vector<std::uint32_t> positions(count);
    std::iota(positions.begin(), positions.end(), 0U);
    std::vector<float> input(count * 28 * 28);
    test.CopySamples(positions, input);
    std::vector<float> outputs(count * 10);
    session.Run(parameters, input, count, outputs);
    std::size_t right = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const auto first = outputs.begin() + static_cast<std::ptrdiff_t>(i * 10);
      right += std::max_element(first, first + 10) - first == test.label(i) ? 1 : 0;
    }
    return static_cast<double>(right) / static_cast<double>(count);
  }
};

}  // namespace fl::deploy::testing
