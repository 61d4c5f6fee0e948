#include "fl/benchmarks/sparse_layer.h"

#include "fl/benchmarks/measure.h"
#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/integer_session.h"
#include "fl/common/random/rng_stream.h"

namespace fl::bench {
namespace {

constexpr double kSparsity = 0.8;
constexpr std::size_t kRuns = 200;
constexpr std::size_t kTurns = 5;

struct Layer {
  std::string_view name;
  Shape input;
  std::vector<std::string> lines;
};

void FillBlocks(std::size_t inputs, double sparsity, RngStream& rng,
                std::vector<std::int8_t>& weight) {
  const std::size_t units = weight.size() / inputs;
  for (std::size_t first = 0; first < units; first += 4) {
    for (std::size_t k = 0; k < inputs; ++k) {
      if (rng.UniformDouble() < sparsity) continue;
      for (std::size_t c = first; c < first + 4; ++c)
        weight[c * inputs + k] = static_cast<std::int8_t>(1 + rng.UniformInteger(100));
    }
  }
}

Result<nn::IntegerSession> SessionOf(const nn::Graph& graph, double sparsity, RngStream rng,
                                     nn::IntegerInstructionSet set) {
  const std::size_t count = graph.nodes.size();
  nn::QuantizedModel model{graph, std::vector<nn::ActivationScale>(count, {0.02F, 0}),
                           std::vector<nn::QuantizedNode>(count)};
  for (std::size_t i = 0; i < count; ++i) {
    if (graph.nodes[i].parameters.empty()) continue;
    const Shape& shape = graph.parameters[graph.nodes[i].parameters[0]].shape;
    const std::size_t units = shape[shape.rank() - 1];
    nn::QuantizedNode& node = model.nodes[i];
    node.weight.resize(shape.count());
    FillBlocks(shape.count() / units, sparsity, rng, node.weight);
    node.weight_scale.assign(units, 0.001F);
    node.bias.assign(units, 0);
  }
  return nn::IntegerSession::Create(model, 1, set);
}

// How many times faster a layer is with so many zeros.
Result<double> RatioOf(const Layer& layer, double sparsity, nn::IntegerInstructionSet set,
                       const RunConditions& conditions) {
  FL_TRY(const nn::Graph graph, nn::BuildGraph(layer.input, layer.lines, "mean_squared_error"));
  const RngStream rng(conditions.seed);
  FL_TRY(nn::IntegerSession dense, SessionOf(graph, 0, rng.Child("weights"), set));
  FL_TRY(nn::IntegerSession sparse, SessionOf(graph, sparsity, rng.Child("weights"), set));
  std::vector<float> input(layer.input.count());
  rng.Child("samples").FillUniform(input);
  std::vector<float> output(graph.output_shape().count());
  std::vector<double> of_dense;
  std::vector<double> of_sparse;
  for (std::size_t turn = 0; turn < kTurns * conditions.repeats; ++turn) {
    of_dense.push_back(MedianSeconds(kRuns, [&] { dense.Run(input, 1, output); }));
    of_sparse.push_back(MedianSeconds(kRuns, [&] { sparse.Run(input, 1, output); }));
  }
  return Median(std::move(of_dense)) / Median(std::move(of_sparse));
}

Result<> RunEverySet(const Layer& layer, const RunConditions& conditions, Report& report) {
  for (const nn::IntegerInstructionSet set : nn::SupportedIntegerInstructionSets()) {
    if (set == nn::IntegerInstructionSet::kGeneric) continue;
    for (const int percent : {50, 70, 80, 90}) {
      FL_TRY(const double ratio, RatioOf(layer, percent / 100.0, set, conditions));
      report.Add({"models/sparse/" + std::string(layer.name) + "/" +
                      std::string(nn::InstructionSetName(set)) + "/" + std::to_string(percent),
                  ratio,
                  "x faster",
                  {},
                  "of its dense kernel, in turns"});
    }
  }
  return {};
}

}  // namespace

Result<> RunSparseLayers(const RunConditions& conditions, Report& report) {
  const Layer layers[] = {{"3136x512", {3136}, {"dense 512"}},
                          {"3136x2048", {3136}, {"dense 2048"}},
                          {"14x14x256x256",
                           {14, 14, 256},
                           {"conv 256 1x1", "relu", "conv 256 1x1", "relu", "global_avgpool"}}};
  for (const Layer& layer : layers) {
    FL_TRY(const double ratio,
           RatioOf(layer, kSparsity, nn::BestIntegerInstructionSet(), conditions));
    report.Add({"models/sparse/" + std::string(layer.name), ratio, "x faster", Bar::AtLeast(1.5),
                "80 % of the blocks are 0, in turns"});
    if (layer.input.rank() == 1) FL_TRY_OK(RunEverySet(layer, conditions, report));
  }
  return {};
}

}  // namespace fl::bench
