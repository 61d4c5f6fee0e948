#include "fl/compression/deploy/low_rank.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/initialize.h"
#include "fl/common/nn/operator.h"
#include "fl/common/nn/session.h"
#include "fl/tests/support/result.h"

namespace fl::deploy {
namespace {

using testing::CodeOf;
using testing::Get;
using Lines = std::vector<std::string>;

// A network on 9x8 images of 6 channels whose convolution and dense layer are sums of two products
// of vectors.
struct Network {
  explicit Network(const std::string& options)
      : graph(Get(nn::BuildGraph(
            Shape{9, 8, 6},
            Lines{"conv 12 3x3" + options, "relu", "flatten", "dense 24", "relu", "dense 3"},
            "softmax_cross_entropy"))),
        parameters(nn::InitializeParameters(graph, RngStream(3)).values),
        samples(kCount * 432) {
    RngStream(4).FillNormal(samples);
    for (const char* name : {"conv1.weight", "dense1.weight"}) Plant(name);
  }

  void Plant(std::string_view name) {
    const std::size_t tensor = *graph.parameters.Find(name);
    const Shape& shape = graph.parameters[tensor].shape;
    const auto weight =
        std::span(parameters).subspan(graph.parameters.offset(tensor), shape.count());
    std::ranges::fill(weight, 0.0F);
    for (std::size_t r = 0; r < 2; ++r) {
      std::vector<float> product = {0.2F};
      for (std::size_t axis = 0; axis < shape.rank(); ++axis) {
        std::vector<float> vector(shape[axis]);
        RngStream(5).Child(name).Child("r", r).Child("axis", axis).FillNormal(vector);
        std::vector<float> longer;
        for (const float a : product) {
          for (const float b : vector) longer.push_back(a * b);
        }
        product = std::move(longer);
      }
      for (std::size_t i = 0; i < weight.size(); ++i) weight[i] += product[i];
    }
  }

  Result<LowRankModel> Run(const LowRankConfig& config) const {
    return FactorizeLayers(graph, parameters, samples, kCount, config, RngStream(7));
  }

  std::vector<float> Outputs(const nn::Graph& of, std::span<const float> values) const {
    nn::Session session = Get(nn::Session::Create(of, kCount));
    std::vector<float> outputs(kCount * 3);
    session.Run(values, samples, kCount, outputs);
    return outputs;
  }
  double Difference(const LowRankModel& model) const {
    const std::vector<float> expected = Outputs(graph, parameters);
    const std::vector<float> found = Outputs(model.graph, model.parameters);
    double largest = 0;
    for (std::size_t i = 0; i < found.size(); ++i)
      largest = std::max(largest, std::abs(static_cast<double>(found[i] - expected[i])));
    return largest;
  }

  static constexpr std::size_t kCount = 40;
  nn::Graph graph;
  std::vector<float> parameters;
  std::vector<float> samples;
};

LowRankConfig Fixed(LowRankMethod method, std::size_t rank) {
  LowRankConfig config;
  config.method = method;
  config.rule = RankRule::kFixed;
  config.rank = rank;
  return config;
}

TEST_CASE("FactorizeLayers: at the rank that the weights have the outputs stay, by each method") {
  for (const char* options : {"", " same", " stride=2", " stride=2 same", " stride=3 same"}) {
    const Network network(options);
    for (const LowRankMethod method : {LowRankMethod::kSvd, LowRankMethod::kSpatialSvd,
                                       LowRankMethod::kTucker, LowRankMethod::kCp}) {
      for (const bool weighted : {true, false}) {
        LowRankConfig config = Fixed(method, 2);
        config.weighted = weighted;
        config.layers = {"conv1", "dense1"};
        if (method == LowRankMethod::kTucker) config.rank = 4;  // In proportion: 2 and 4.
        const LowRankModel model = Get(network.Run(config));
        CHECK(network.Difference(model) < (method == LowRankMethod::kCp ? 1e-3 : 1e-5));
        CHECK(model.parameters.size() == model.graph.parameters.total());
        CHECK(model.parameters.size() < network.parameters.size() / 2);
        CHECK(model.graph.output_shape() == network.graph.output_shape());
      }
    }
  }
}

TEST_CASE("FactorizeLayers: the chains carry names, padding and stride") {
  const Network network(" stride=2 same");
  const auto lines = [&](LowRankMethod method) {
    LowRankConfig config = Fixed(method, 2);
    config.layers = {"conv1"};
    Lines all = nn::DescribeLayers(Get(network.Run(config)).graph);
    all.resize(all.size() - 5);
    return all;
  };
  CHECK(lines(LowRankMethod::kSvd) ==
        Lines{"conv1_a: conv 2 3x3 stride=2 same", "conv1_b: conv 12 1x1 stride=1 same"});
  // 9 rows: the top is padded by 1 with stride 2 and without.
  CHECK(lines(LowRankMethod::kSpatialSvd) ==
        Lines{"conv1_a: conv 2 3x1 stride=1 same", "conv1_b: conv 12 1x3 stride=2 same"});
  CHECK(lines(LowRankMethod::kTucker) == Lines{"conv1_a: conv 1 1x1 stride=1 same",
                                               "conv1_b: conv 2 3x3 stride=2 same",
                                               "conv1_c: conv 12 1x1 stride=1 same"});
  CHECK(lines(LowRankMethod::kCp) ==
        Lines{"conv1_a: conv 2 1x1 stride=1 same", "conv1_b: depthwise 3x1 stride=1 same",
              "conv1_c: depthwise 1x3 stride=2 same", "conv1_d: conv 12 1x1 stride=1 same"});
}

TEST_CASE("FactorizeLayers: the report's parameters and MACs are the graph's") {
  for (const char* options : {"", " stride=2 same"}) {
    const Network network(options);
    for (const LowRankMethod method :
         {LowRankMethod::kSvd, LowRankMethod::kSpatialSvd, LowRankMethod::kTucker}) {
      const LowRankModel model = Get(network.Run(Fixed(method, 3)));
      std::size_t parameters = 0;
      double macs = 0;
      double before = 0;
      for (const LowRankLayer& layer : model.layers) {
        parameters += layer.parameters_after;
        macs += static_cast<double>(layer.macs_after);
        before += static_cast<double>(layer.macs_before);
      }
      CHECK(parameters == model.parameters.size());
      double flops_before = 0;
      double flops = 0;
      for (const nn::Node& node : network.graph.nodes) {
        if (!node.parameters.empty())
          flops_before += nn::RulesOf(node.kind).cost(network.graph, node).flops;
      }
      for (const nn::Node& node : model.graph.nodes) {
        if (!node.parameters.empty()) flops += nn::RulesOf(node.kind).cost(model.graph, node).flops;
      }
      // Operators count two for each multiplication, and may count the bias.
      CHECK(before == doctest::Approx(flops_before / 2).epsilon(0.02));
      CHECK(macs == doctest::Approx(flops / 2).epsilon(0.1));
    }
  }
}

TEST_CASE("FactorizeLayers: layers without a gain stay and say so") {
  const Network network("");
  LowRankConfig config = Fixed(LowRankMethod::kSvd, 20);
  const LowRankModel model = Get(network.Run(config));
  REQUIRE(model.layers.size() == 3);
  CHECK(model.layers[0].reason == "rank 12 has 816 parameters, the layer itself 660");
  CHECK(model.layers[1].reason.empty());
  CHECK(model.layers[1].ranks == Ranks{20, 20});
  CHECK(model.layers[2].reason == "rank 3 has 87 parameters, the layer itself 75");
  CHECK(model.graph.nodes[1].name == "conv1");
}

TEST_CASE("FactorizeLayers: padding that would shift the factors is left to other methods") {
  // 8 columns and 9 rows become 3 x 3 with stride 3: the top is padded by 0, without stride by 1.
  const Network network(" stride=3 same");
  LowRankConfig config = Fixed(LowRankMethod::kSpatialSvd, 2);
  const LowRankModel model = Get(network.Run(config));
  CHECK(model.layers[0].reason.find("`same` padding with stride 3") != std::string::npos);
  config.method = LowRankMethod::kCp;
  const LowRankModel canonical = Get(network.Run(config));
  CHECK(canonical.graph.nodes[2].kind == nn::OpKind::kDepthwise);
  CHECK(canonical.graph.nodes[2].kernel_height == 3);
  CHECK(canonical.graph.nodes[2].kernel_width == 3);
}

TEST_CASE("FactorizeLayers: a budget of parameters or MACs is used up and not exceeded") {
  const Network network(" same");
  for (const LowRankMethod method :
       {LowRankMethod::kSvd, LowRankMethod::kSpatialSvd, LowRankMethod::kTucker}) {
    for (const double budget : {0.2, 0.5, 0.8}) {
      for (const auto measure : {LowRankMeasure::kParameters, LowRankMeasure::kMacs}) {
        LowRankConfig config;
        config.method = method;
        config.budget = budget;
        config.measure = measure;
        const LowRankModel model = Get(network.Run(config));
        double before = 0;
        double after = 0;
        for (const LowRankLayer& layer : model.layers) {
          const bool macs = measure == LowRankMeasure::kMacs;
          before += static_cast<double>(macs ? layer.macs_before : layer.parameters_before);
          after += static_cast<double>(macs ? layer.macs_after : layer.parameters_after);
        }
        CHECK(after <= budget * before);
        CHECK(network.Difference(model) < 1e-4);  // Two directions carry all.
      }
    }
  }
}

TEST_CASE("FactorizeLayers: a budget of error gives each layer the least rank within") {
  Network network(" same");
  // Some noise, so that each rank counts.
  RngStream rng(9);
  for (float& value : network.parameters) value += 0.02F * rng.Normal();
  LowRankConfig config;
  config.measure = LowRankMeasure::kError;
  config.budget = 0.05;
  const LowRankModel model = Get(network.Run(config));
  for (const LowRankLayer& layer : model.layers) {
    if (!layer.reason.empty()) continue;
    CHECK(layer.error <= 0.05);
    LowRankConfig less = Fixed(LowRankMethod::kSvd, layer.ranks.out - 1);
    less.layers = {layer.name};
    if (less.rank > 0) CHECK(Get(network.Run(less)).layers[0].error > 0.05);
  }
  config.budget = 1e-9;
  for (const LowRankLayer& layer : Get(network.Run(config)).layers)
    CHECK(layer.reason.find("the largest that saves, loses") != std::string::npos);
}

TEST_CASE("FactorizeLayers: a budget that cannot be reached says what can") {
  const Network network("");
  LowRankConfig config;
  config.budget = 0.01;
  const auto result = network.Run(config);
  REQUIRE_FALSE(result);
  CHECK(result.error().code == ErrorCode::kInvalidArgument);
  CHECK(result.error().message.find("rank 1 wherever it saves leaves 0.0") != std::string::npos);
}

TEST_CASE("FactorizeLayers: a random start has the factors' shapes and nothing of their values") {
  const Network network("");
  LowRankConfig config = Fixed(LowRankMethod::kSvd, 2);
  config.layers = {"conv1", "dense1"};
  const LowRankModel decomposed = Get(network.Run(config));
  config.random_start = true;
  const LowRankModel drawn = Get(network.Run(config));
  CHECK(drawn.graph.parameters == decomposed.graph.parameters);
  CHECK(network.Difference(drawn) > 0.01);
  // What was not replaced keeps its values.
  const std::size_t kept = *drawn.graph.parameters.Find("dense2.weight");
  const auto offset = static_cast<std::ptrdiff_t>(drawn.graph.parameters.offset(kept));
  CHECK(std::equal(drawn.parameters.begin() + offset, drawn.parameters.begin() + offset + 72,
                   decomposed.parameters.begin() + offset));
}

TEST_CASE("FactorizeLayers: the same arguments give the same bits") {
  const Network network(" same");
  LowRankConfig config;
  config.method = LowRankMethod::kCp;
  CHECK(Get(network.Run(config)).parameters == Get(network.Run(config)).parameters);
}

TEST_CASE("FactorizeLayers: what cannot be is refused by name") {
  Network network("");
  LowRankConfig config;
  config.layers = {"conv7"};
  CHECK(CodeOf(network.Run(config)) == ErrorCode::kNotFound);
  config.layers = {"relu1"};
  const auto relu = network.Run(config);
  REQUIRE_FALSE(relu);
  CHECK(relu.error().message == "layers: expected dense layers and convolutions, found relu1");
  config.layers.clear();
  for (const double budget : {0.0, 1.0, -1.0, std::nan("")}) {
    config.budget = budget;
    CHECK(CodeOf(network.Run(config)) == ErrorCode::kInvalidArgument);
  }
  CHECK(CodeOf(network.Run(Fixed(LowRankMethod::kSvd, 0))) == ErrorCode::kInvalidArgument);
  config = {};
  config.energy = 0;
  CHECK(CodeOf(network.Run(config)) == ErrorCode::kInvalidArgument);
  config = {};
  network.samples[9] = std::numeric_limits<float>::quiet_NaN();
  CHECK(CodeOf(network.Run(config)) == ErrorCode::kNotFinite);
  network.samples.pop_back();
  CHECK(CodeOf(network.Run(config)) == ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace fl::deploy
