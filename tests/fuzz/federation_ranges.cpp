#include "fl/compression/deploy/federation_ranges.h"

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "fl/common/base/check.h"
#include "fl/common/nn/build_graph.h"

// Bytes are ranges of the graph's nodes or are refused; ranges hold zero, are finite and come back
// from their bytes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::vector<std::string> layers = {"dense 3", "relu"};
  const auto graph = fl::nn::BuildGraph(fl::Shape{2}, layers, "softmax_cross_entropy");
  FL_CHECK(graph.has_value(), "a graph of three nodes");
  const auto ranges = fl::deploy::DecodeRanges(std::as_bytes(std::span(data, size)), *graph);
  if (!ranges) return 0;
  std::vector<fl::nn::ActivationRange> values;
  for (const fl::nn::Node& node : graph->nodes) values.push_back(ranges->at(node.name));
  for (const fl::nn::ActivationRange& range : values) {
    FL_CHECK(
        std::isfinite(range.low) && std::isfinite(range.high) && range.low <= 0 && range.high >= 0,
        "a range is finite and around zero");
  }
  const auto again = fl::deploy::DecodeRanges(fl::deploy::EncodeRanges(values), *graph);
  FL_CHECK(again.has_value() && *again == *ranges, "ranges come back from their bytes");
  return 0;
}
