#pragma once

#include <string_view>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/nn/graph.h"

namespace fl::nn {

// Whether a layer of the graph has a weight made of factors.
bool IsFactored(const Graph& graph);

// The graph with every weight as one tensor: what the kernels run, and what is deployed and
// exported. A weight whose factors are all frozen is frozen. A graph without factors is returned as
// it is.
Graph PlainGraph(const Graph& graph);

// kUnsupported when the graph has weights made of factors, naming `what` needs a plain one.
Result<> ExpectPlain(const Graph& graph, std::string_view what);

// Coordinates [first, first + count) of the flat vector of parameters.
struct CoordinateRange {
  std::size_t first = 0;
  std::size_t count = 0;
  friend bool operator==(const CoordinateRange&, const CoordinateRange&) = default;
};

// The coordinates that training changes, ascending, adjacent tensors in one range.
std::vector<CoordinateRange> TrainedRanges(const Graph& graph);

}  // namespace fl::nn
