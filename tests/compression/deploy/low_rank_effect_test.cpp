#include <algorithm>
#include <cmath>
#include <numeric>

#include <doctest/doctest.h>

#include "fl/common/nn/session.h"
#include "fl/compression/deploy/low_rank.h"
#include "fl/tests/compression/deploy/trained_digits.h"

namespace fl::deploy {
namespace {

using testing::Get;
using testing::TrainedDigits;

// Mean square of the difference of the logits from the whole network's, on 200 unseen images.
double LogitError(const TrainedDigits& digits, const LowRankModel& model) {
  std::vector<float> images(TrainedDigits::kSamples * 784);
  for (std::size_t i = 0; i < TrainedDigits::kSamples; ++i)
    digits.unseen.CopySample(i, std::span(images).subspan(i * 784, 784));
  std::vector<float> expected(TrainedDigits::kSamples * 10);
  Get(nn::Session::Create(digits.graph, TrainedDigits::kSamples))
      .Run(digits.parameters, images, TrainedDigits::kSamples, expected);
  std::vector<float> found(TrainedDigits::kSamples * 10);
  Get(nn::Session::Create(model.graph, TrainedDigits::kSamples))
      .Run(model.parameters, images, TrainedDigits::kSamples, found);
  double sum = 0;
  for (std::size_t i = 0; i < found.size(); ++i)
    sum += std::pow(static_cast<double>(found[i] - expected[i]), 2);
  return sum / static_cast<double>(found.size());
}

LowRankModel Factorize(const TrainedDigits& digits, const LowRankConfig& config) {
  return Get(FactorizeLayers(digits.graph, digits.parameters, digits.samples,
                             TrainedDigits::kSamples, config, RngStream(2)));
}

// The accuracy when the layer keeps its outputs of largest weights, just so many that the whole
// model has at least `budget` parameters; `next` reads it, so its weights for the others go too.
double WidthCut(const TrainedDigits& digits, const std::string& layer, const std::string& next,
                std::size_t budget) {
  const std::size_t weight = *digits.graph.parameters.Find(layer + ".weight");
  const std::size_t bias = *digits.graph.parameters.Find(layer + ".bias");
  const std::size_t outputs = digits.graph.parameters[bias].shape[0];
  const std::size_t rows = digits.graph.parameters[weight].shape.count() / outputs;
  const std::size_t read =
      digits.graph.parameters[*digits.graph.parameters.Find(next + ".weight")].shape.count() /
      outputs;
  NamedTensors tensors(digits.graph.parameters);
  tensors.values = digits.parameters;
  std::vector<double> norms(outputs);
  for (std::size_t i = 0; i < rows * outputs; ++i)
    norms[i % outputs] += std::abs(static_cast<double>(tensors.tensor(weight)[i]));
  std::vector<std::size_t> order(outputs);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, [&](std::size_t a, std::size_t b) { return norms[a] < norms[b]; });
  std::size_t size = digits.parameters.size();
  for (const std::size_t output : order) {
    if (size - (rows + 1 + read) < budget) break;
    size -= rows + 1 + read;
    for (std::size_t i = 0; i < rows; ++i) tensors.tensor(weight)[i * outputs + output] = 0;
    tensors.tensor(bias)[output] = 0;
  }
  return digits.AccuracyOf(digits.graph, tensors.values);
}

// Before any fine-tuning. The thresholds leave room for other processors' last bits of training.
void CheckBeatsWidthCut(const TrainedDigits& digits, LowRankMethod method, const std::string& layer,
                        const std::string& next) {
  CHECK(digits.AccuracyOf(digits.graph, digits.parameters) > 0.8);
  LowRankConfig config;
  config.method = method;
  config.layers = {layer};
  config.budget = 0.35;
  const LowRankModel model = Factorize(digits, config);
  const double accuracy = digits.AccuracyOf(model.graph, model.parameters);
  const double cut = WidthCut(digits, layer, next, model.parameters.size());
  CHECK(accuracy > cut);
}

TEST_CASE("low rank: SVD of a dense layer beats a width cut to as many parameters") {
  CheckBeatsWidthCut(testing::Perceptron(), LowRankMethod::kSvd, "dense1", "dense2");
}

TEST_CASE("low rank: spatial SVD of a convolution beats a width cut to as many parameters") {
  CheckBeatsWidthCut(testing::Convolutions(), LowRankMethod::kSpatialSvd, "conv2", "dense1");
}

TEST_CASE("low rank: Tucker of a convolution beats a width cut to as many parameters") {
  CheckBeatsWidthCut(testing::Convolutions(), LowRankMethod::kTucker, "conv2", "dense1");
}

TEST_CASE("low rank: CP of a convolution beats a width cut to as many parameters") {
  CheckBeatsWidthCut(testing::Convolutions(), LowRankMethod::kCp, "conv2", "dense1");
}

TEST_CASE("low rank: the weighting by inputs loses less of the answers at equal ranks") {
  for (const LowRankMethod method : {LowRankMethod::kSvd, LowRankMethod::kSpatialSvd,
                                     LowRankMethod::kTucker, LowRankMethod::kCp}) {
    const bool dense = method == LowRankMethod::kSvd;
    const TrainedDigits& digits = dense ? testing::Perceptron() : testing::Convolutions();
    LowRankConfig config;
    config.method = method;
    config.rule = RankRule::kFixed;
    config.rank = 8;
    config.layers = {dense ? "dense1" : "conv2"};
    const LowRankModel weighted = Factorize(digits, config);
    config.weighted = false;
    const LowRankModel plain = Factorize(digits, config);
    CHECK(weighted.graph.parameters == plain.graph.parameters);
    CHECK(LogitError(digits, weighted) < 0.8 * LogitError(digits, plain));
  }
}

}  // namespace
}  // namespace fl::deploy
