#include "fl/compression/deploy/correct_bias.h"

#include <algorithm>
#include <cmath>

#include "fl/compression/deploy/layer_model.h"

namespace fl::deploy {
namespace {

// Mean of each channel (the last extent) over samples and places.
std::vector<double> ChannelMeans(std::span<const float> values, std::size_t channels) {
  std::vector<double> means(channels, 0.0);
  for (std::size_t i = 0; i < values.size(); ++i)
    means[i % channels] += static_cast<double>(values[i]);
  const std::size_t rows = values.size() / channels;
  for (double& mean : means) mean /= static_cast<double>(rows);
  return means;
}

Result<std::vector<double>> OutputMeans(const nn::Graph& graph, std::size_t node,
                                        std::span<const float> parameters,
                                        const nn::SampleValues& samples,
                                        const nn::ActivationRange* range) {
  FL_TRY(const std::vector<float> inputs, LayerInputOf(graph, parameters, samples, node, range));
  FL_TRY(const std::vector<float> outputs,
         LayerOutputOf(LayerModelOf(graph, node, parameters), {inputs, samples.count}));
  const Shape& shape = graph.nodes[node].shape;
  return ChannelMeans(outputs, shape[shape.rank() - 1]);
}

}  // namespace

Result<BiasCorrection> CorrectBias(const nn::Graph& graph, std::span<const float> parameters,
                                   const nn::SampleValues& samples,
                                   std::span<const nn::ActivationRange> ranges,
                                   RoundedWeights& rounded) {
  FL_TRY_OK(nn::CheckSamples(graph, parameters, samples, "bias_correction"));
  if (rounded.parameters.size() != parameters.size() ||
      (!ranges.empty() && ranges.size() != graph.nodes.size())) {
    return Error{ErrorCode::kInvalidArgument,
                 "bias_correction: expected rounded weights of the graph and a range for each of "
                 "its " +
                     std::to_string(graph.nodes.size()) + " nodes, found " +
                     std::to_string(rounded.parameters.size()) + " values and " +
                     std::to_string(ranges.size()) + " ranges"};
  }
  BiasCorrection correction;
  for (const std::size_t i : WeightNodes(graph)) {
    const nn::Node& node = graph.nodes[i];
    if (node.parameters.size() != 2) continue;
    const nn::ActivationRange* range = ranges.empty() ? nullptr : &ranges[node.inputs[0]];
    FL_TRY(const std::vector<double> wanted, OutputMeans(graph, i, parameters, samples, nullptr));
    FL_TRY(const std::vector<double> found,
           OutputMeans(graph, i, rounded.parameters, samples, range));
    const std::size_t bias = graph.parameters.offset(node.parameters[1]);
    for (std::size_t c = 0; c < wanted.size(); ++c) {
      const double shift = found[c] - wanted[c];
      rounded.parameters[bias + c] =
          static_cast<float>(static_cast<double>(rounded.parameters[bias + c]) - shift);
      correction.largest_shift = std::max(correction.largest_shift, std::abs(shift));
    }
    ++correction.layers;
  }
  return correction;
}

}  // namespace fl::deploy
