#include <algorithm>
#include <cmath>
#include <numeric>

#include <doctest/doctest.h>

#include "fl/common/data/source.h"
#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/gradient.h"
#include "fl/common/nn/initialize.h"
#include "fl/common/nn/optimizer.h"
#include "fl/common/nn/session.h"
#include "fl/compression/deploy/low_rank.h"
#include "fl/compression/deploy/gate.h"
#include "fl/tests/support/result.h"

namespace fl::deploy {
namespace {

using testing::Get;
using Lines = std::vector<std::string>;

// A small network, trained on mnist-mini for four passes, and 200 of its training images.
struct Digits {
  explicit Digits(const Lines& lines) : training(Load("train")), unseen(Load("test")) {
    graph = Get(nn::BuildGraph(Shape{28, 28, 1}, lines, "softmax_cross_entropy"));
    parameters = nn::InitializeParameters(graph, RngStream(1)).values;
    Train();
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

  void Train() {
    constexpr std::size_t kBatch = 25;
    nn::TrainingStep step = Get(nn::TrainingStep::Create(graph, kBatch));
    nn::SgdConfig config;
    config.learning_rate = 0.01;
    config.momentum = 0.9;
    config.warm_up_steps = 50;
    nn::Sgd sgd(config, graph);
    std::vector<float> gradient(parameters.size());
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
      step.Compute(parameters, batch, gradient);
      sgd.Step(gradient, {}, parameters);
    }
  }

  double AccuracyOf(const nn::Graph& of, std::span<const float> values) const {
    return Get(Accuracy(of, values, unseen));
  }
  // Mean square of the difference of the logits from the whole network's, on 200 unseen images.
  double LogitError(const LowRankModel& model) const {
    std::vector<float> images(kSamples * 784);
    for (std::size_t i = 0; i < kSamples; ++i)
      unseen.CopySample(i, std::span(images).subspan(i * 784, 784));
    std::vector<float> expected(kSamples * 10);
    Get(nn::Session::Create(graph, kSamples)).Run(parameters, images, kSamples, expected);
    std::vector<float> found(kSamples * 10);
    Get(nn::Session::Create(model.graph, kSamples)).Run(model.parameters, images, kSamples, found);
    double sum = 0;
    for (std::size_t i = 0; i < found.size(); ++i)
      sum += std::pow(static_cast<double>(found[i] - expected[i]), 2);
    return sum / static_cast<double>(found.size());
  }
  LowRankModel Factorize(const LowRankConfig& config) const {
    return Get(FactorizeLayers(graph, parameters, samples, kSamples, config, RngStream(2)));
  }

  // The accuracy when the layer keeps its outputs of largest weights, just so many that the whole
  // model has at least `budget` parameters; `next` reads it, so its weights for the others go too.
  double WidthCut(const std::string& layer, const std::string& next, std::size_t budget) const {
    const std::size_t weight = *graph.parameters.Find(layer + ".weight");
    const std::size_t bias = *graph.parameters.Find(layer + ".bias");
    const std::size_t outputs = graph.parameters[bias].shape[0];
    const std::size_t rows = graph.parameters[weight].shape.count() / outputs;
    const std::size_t read =
        graph.parameters[*graph.parameters.Find(next + ".weight")].shape.count() / outputs;
    NamedTensors tensors(graph.parameters);
    tensors.values = parameters;
    std::vector<double> norms(outputs);
    for (std::size_t i = 0; i < rows * outputs; ++i)
      norms[i % outputs] += std::abs(static_cast<double>(tensors.tensor(weight)[i]));
    std::vector<std::size_t> order(outputs);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::sort(order, [&](std::size_t a, std::size_t b) { return norms[a] < norms[b]; });
    std::size_t size = parameters.size();
    for (const std::size_t output : order) {
      if (size - (rows + 1 + read) < budget) break;
      size -= rows + 1 + read;
      for (std::size_t i = 0; i < rows; ++i) tensors.tensor(weight)[i * outputs + output] = 0;
      tensors.tensor(bias)[output] = 0;
    }
    return AccuracyOf(graph, tensors.values);
  }

  static constexpr std::size_t kSamples = 200;
  data::Subset training;
  data::Subset unseen;
  nn::Graph graph;
  std::vector<float> parameters;
  std::vector<float> samples;
};

const Digits& Convolutions() {
  static const Digits digits({"maxpool 2", "conv 16 3x3", "relu", "maxpool 2", "conv 32 3x3 same",
                              "relu", "maxpool 3", "flatten", "dense 10"});
  return digits;
}

const Digits& Perceptron() {
  static const Digits digits(
      {"maxpool 2", "flatten", "dense 48", "relu", "dense 32", "relu", "dense 10"});
  return digits;
}

// Before any fine-tuning. The thresholds leave room for other processors' last bits of training.
void CheckBeatsWidthCut(const Digits& digits, LowRankMethod method, const std::string& layer,
                        const std::string& next) {
  CHECK(digits.AccuracyOf(digits.graph, digits.parameters) > 0.8);
  LowRankConfig config;
  config.method = method;
  config.layers = {layer};
  config.budget = 0.35;
  const LowRankModel model = digits.Factorize(config);
  const double accuracy = digits.AccuracyOf(model.graph, model.parameters);
  const double cut = digits.WidthCut(layer, next, model.parameters.size());
  CHECK(accuracy > cut);
}

TEST_CASE("low rank: SVD of a dense layer beats a width cut to as many parameters") {
  CheckBeatsWidthCut(Perceptron(), LowRankMethod::kSvd, "dense1", "dense2");
}

TEST_CASE("low rank: spatial SVD of a convolution beats a width cut to as many parameters") {
  CheckBeatsWidthCut(Convolutions(), LowRankMethod::kSpatialSvd, "conv2", "dense1");
}

TEST_CASE("low rank: Tucker of a convolution beats a width cut to as many parameters") {
  CheckBeatsWidthCut(Convolutions(), LowRankMethod::kTucker, "conv2", "dense1");
}

TEST_CASE("low rank: CP of a convolution beats a width cut to as many parameters") {
  CheckBeatsWidthCut(Convolutions(), LowRankMethod::kCp, "conv2", "dense1");
}

TEST_CASE("low rank: the weighting by inputs loses less of the answers at equal ranks") {
  for (const LowRankMethod method : {LowRankMethod::kSvd, LowRankMethod::kSpatialSvd,
                                     LowRankMethod::kTucker, LowRankMethod::kCp}) {
    const bool dense = method == LowRankMethod::kSvd;
    const Digits& digits = dense ? Perceptron() : Convolutions();
    LowRankConfig config;
    config.method = method;
    config.rule = RankRule::kFixed;
    config.rank = 8;
    config.layers = {dense ? "dense1" : "conv2"};
    const LowRankModel weighted = digits.Factorize(config);
    config.weighted = false;
    const LowRankModel plain = digits.Factorize(config);
    CHECK(weighted.graph.parameters == plain.graph.parameters);
    CHECK(digits.LogitError(weighted) < 0.8 * digits.LogitError(plain));
  }
}

}  // namespace
}  // namespace fl::deploy
