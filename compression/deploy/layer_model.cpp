#include "fl/compression/deploy/layer_model.h"

#include <algorithm>
#include <cmath>

#include "fl/common/nn/quantized_model.h"
#include "fl/common/nn/session.h"
#include "fl/compression/deploy/fake_quantize.h"

namespace fl::deploy {

nn::FloatModel LayerModelOf(const nn::Graph& graph, std::size_t node,
                            std::span<const float> parameters) {
  nn::FloatModel layer;
  nn::Node input;
  input.name = "input";
  input.shape = graph.nodes[graph.nodes[node].inputs[0]].shape;
  nn::Node product = graph.nodes[node];
  std::vector<TensorSpec> tensors;
  for (const std::size_t tensor : product.parameters) {
    tensors.push_back(graph.parameters[tensor]);
    const auto values =
        parameters.subspan(graph.parameters.offset(tensor), graph.parameters[tensor].shape.count());
    layer.parameters.insert(layer.parameters.end(), values.begin(), values.end());
  }
  product.inputs = {0};
  product.parameters = {0, 1};
  layer.graph.nodes = {std::move(input), std::move(product)};
  layer.graph.parameters = TensorLayout(std::move(tensors));
  layer.graph.loss = nn::LossKind::kMeanSquaredError;
  return layer;
}

Result<std::vector<float>> LayerInputOf(const nn::Graph& graph, std::span<const float> parameters,
                                        const nn::SampleValues& samples, std::size_t node,
                                        const nn::ActivationRange* range) {
  FL_TRY(std::vector<float> inputs,
         nn::OutputsOf(graph, parameters, samples, graph.nodes[node].inputs[0]));
  if (!AllFinite(inputs)) {
    return Error{ErrorCode::kNotFinite,
                 "the input of " + graph.nodes[node].name + " holds a value that is not finite"};
  }
  if (range != nullptr) RoundActivations(*range, inputs);
  return inputs;
}

Result<std::vector<float>> LayerOutputOf(const nn::FloatModel& layer,
                                         const nn::SampleValues& inputs) {
  FL_TRY_OK(nn::CheckSamples(layer.graph, layer.parameters, inputs, "layer"));
  constexpr std::size_t kBatch = 32;
  FL_TRY(nn::Session session,
         nn::Session::Create(layer.graph, std::min<std::size_t>(kBatch, inputs.count)));
  const std::size_t from = layer.graph.input_shape().count();
  const std::size_t to = layer.graph.output_shape().count();
  std::vector<float> outputs(inputs.count * to);
  for (std::size_t first = 0; first < inputs.count; first += kBatch) {
    const std::size_t batch = std::min(kBatch, inputs.count - first);
    session.Run(layer.parameters, inputs.values.subspan(first * from, batch * from), batch,
                std::span(outputs).subspan(first * to, batch * to));
  }
  return outputs;
}

void RoundActivations(const nn::ActivationRange& range, std::span<float> values) {
  RoundToScale(nn::ScaleOf(range), values);
}

}  // namespace fl::deploy
