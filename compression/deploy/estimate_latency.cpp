#include "fl/compression/deploy/estimate_latency.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "fl/common/nn/operator.h"

namespace fl::deploy {
namespace {

// The row of the same operator whose size is nearest; null when there is none.
const OperatorTime* NearestRow(const HardwareProfile& profile, std::string_view name,
                               double multiply_accumulates, bool integers) {
  const OperatorTime* nearest = nullptr;
  double least = 0;
  for (const OperatorTime& row : profile.operators) {
    const std::string_view layer = row.layer;
    const double time = integers ? row.int8_us : row.fp32_us;
    if (layer.substr(0, layer.find(' ')) != name || time <= 0 || row.multiply_accumulates <= 0)
      continue;
    const double distance = std::abs(std::log(multiply_accumulates / row.multiply_accumulates));
    if (nearest != nullptr && distance >= least) continue;
    nearest = &row;
    least = distance;
  }
  return nearest;
}

// The time of the nearest row, scaled; negative when there is none.
double ByTable(const HardwareProfile& profile, std::string_view name, double multiply_accumulates,
               bool integers) {
  if (multiply_accumulates <= 0) return -1;
  const OperatorTime* row = NearestRow(profile, name, multiply_accumulates, integers);
  if (row == nullptr) return -1;
  return (integers ? row->int8_us : row->fp32_us) * multiply_accumulates /
         row->multiply_accumulates;
}

double NodeMicroseconds(const HardwareProfile& profile, const nn::Graph& graph,
                        const nn::Node& node, bool integers) {
  switch (node.kind) {
    case nn::OpKind::kInput: {
      const nn::OperatorRules& relu = nn::RulesOf(nn::OpKind::kRelu);
      const double half = static_cast<double>(node.shape.count()) / 2;
      return std::max(0.0, ByTable(profile, relu.name, half, integers)) / 2;
    }
    case nn::OpKind::kRelu:
    case nn::OpKind::kRelu6:
    case nn::OpKind::kFlatten:
    case nn::OpKind::kReshape:
      return 0;
    default:
      break;
  }
  const nn::OperatorRules& rules = nn::RulesOf(node.kind);
  const nn::OperatorCost cost = rules.cost(graph, node);
  const double known = ByTable(profile, rules.name, cost.flops / 2, integers);
  if (known >= 0) return known;
  const double rate = integers ? profile.int8_gops : profile.fp32_gflops;
  const double bytes = cost.parameter_bytes / (integers ? 4 : 1);
  return std::max(cost.flops / rate, bytes / profile.memory_gbps) * 1e-3;
}

}  // namespace

Result<std::vector<double>> EstimateNodeLatency(const HardwareProfile& profile,
                                                const nn::Graph& graph, bool integers) {
  const std::string type = integers ? "int8" : "fp32";
  if (!HasType(profile, type))
    return Error{ErrorCode::kUnsupported, "the device of the profile has no " + type};
  std::vector<double> times;
  times.reserve(graph.nodes.size());
  for (const nn::Node& node : graph.nodes)
    times.push_back(NodeMicroseconds(profile, graph, node, integers));
  return times;
}

Result<double> EstimateLatency(const HardwareProfile& profile, const nn::Graph& graph,
                               bool integers) {
  FL_TRY(const std::vector<double> times, EstimateNodeLatency(profile, graph, integers));
  return std::accumulate(times.begin(), times.end(), 0.0);
}

}  // namespace fl::deploy
