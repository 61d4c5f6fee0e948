#include "fl/common/nn/visit_outputs.h"

#include <algorithm>
#include <memory>
#include <string>

#include "fl/common/nn/internal/forward_pass.h"

namespace fl::nn {

using internal::ForwardPass;

Result<> CheckSamples(const Graph& graph, std::span<const float> parameters,
                      const SampleValues& samples, std::string_view what) {
  if (samples.count > 0 && samples.values.size() % samples.count == 0 &&
      samples.values.size() / samples.count == graph.input_shape().count() &&
      parameters.size() == graph.parameters.total()) {
    return {};
  }
  return Error{ErrorCode::kInvalidArgument,
               std::string(what) + ": expected samples of " + graph.input_shape().ToText() +
                   " and the graph's " + std::to_string(graph.parameters.total()) +
                   " parameters, found " + std::to_string(samples.values.size()) + " values for " +
                   std::to_string(samples.count) + " samples and " +
                   std::to_string(parameters.size()) + " parameters"};
}

Result<> VisitOutputs(const Graph& graph, std::span<const float> parameters,
                      const SampleValues& samples, const OutputVisitor& output) {
  FL_TRY_OK(CheckSamples(graph, parameters, samples, "samples"));
  constexpr std::size_t kBatch = 32;
  FL_TRY(const std::unique_ptr<ForwardPass> pass,
         ForwardPass::Create(graph, std::min(kBatch, samples.count), BestInstructionSet(),
                             ForwardPass::Mode::kObserve));
  const std::size_t stride = graph.input_shape().count();
  for (std::size_t first = 0; first < samples.count; first += kBatch) {
    const std::size_t batch = std::min(kBatch, samples.count - first);
    pass->Run(parameters.data(), samples.values.data() + first * stride, batch);
    for (std::size_t i = 0; i < graph.nodes.size(); ++i)
      output(i, {pass->output(i), batch * graph.nodes[i].shape.count()});
  }
  return {};
}

Result<std::vector<float>> OutputsOf(const Graph& graph, std::span<const float> parameters,
                                     const SampleValues& samples, std::size_t node) {
  std::vector<float> outputs;
  FL_TRY_OK(
      VisitOutputs(graph, parameters, samples, [&](std::size_t i, std::span<const float> values) {
        if (i == node) outputs.insert(outputs.end(), values.begin(), values.end());
      }));
  return outputs;
}

}  // namespace fl::nn
