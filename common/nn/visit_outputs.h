#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/nn/graph.h"

namespace fl::nn {

// Samples one after the other, each of the graph's input shape.
struct SampleValues {
  std::span<const float> values;
  std::size_t count = 0;
};

// kInvalidArgument when there are no samples, or their length or that of the parameters is not the
// graph's; `what` is put in front of the message.
Result<> CheckSamples(const Graph& graph, std::span<const float> parameters,
                      const SampleValues& samples, std::string_view what);

// Runs all samples in batches of at most 32 and shows every node's output of each batch, nodes in
// order: output(node, values), values holding that batch's samples one after the other. A product
// that ReLU follows shows the ReLU's output. The graph has plain weights. Errors as CheckSamples
// and Session::Create.
using OutputVisitor = std::function<void(std::size_t node, std::span<const float> values)>;
Result<> VisitOutputs(const Graph& graph, std::span<const float> parameters,
                      const SampleValues& samples, const OutputVisitor& output);

// All values that one node yields, samples one after the other.
Result<std::vector<float>> OutputsOf(const Graph& graph, std::span<const float> parameters,
                                     const SampleValues& samples, std::size_t node);

}  // namespace fl::nn
