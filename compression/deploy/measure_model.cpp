#include "fl/compression/deploy/measure_model.h"

#include <algorithm>
#include <cmath>

#include "fl/common/nn/integer_session.h"
#include "fl/common/nn/operator.h"
#include "fl/common/nn/session.h"

namespace fl::deploy {
namespace {

// The largest sum of outputs that some later node still reads, this node's own among them.
std::uint64_t ActivationPeak(const nn::Graph& graph, std::size_t value_bytes) {
  std::vector<std::size_t> last_use(graph.nodes.size(), 0);
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    last_use[i] = i;
    for (const std::size_t input : graph.nodes[i].inputs) last_use[input] = i;
  }
  std::uint64_t peak = 0;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    std::uint64_t live = 0;
    for (std::size_t k = 0; k <= i; ++k) {
      if (last_use[k] >= i) live += graph.nodes[k].shape.count() * value_bytes;
    }
    peak = std::max(peak, live);
  }
  return peak;
}

std::size_t CountNonzero(const nn::QuantizedModel& model) {
  std::size_t nonzero = 0;
  for (const nn::QuantizedNode& node : model.nodes) {
    nonzero += node.weight.size() -
               static_cast<std::size_t>(std::ranges::count(node.weight, std::int8_t{0}));
    nonzero +=
        node.bias.size() - static_cast<std::size_t>(std::ranges::count(node.bias, std::int32_t{0}));
    nonzero += node.float_bias.size() -
               static_cast<std::size_t>(std::ranges::count(node.float_bias, 0.0F));
  }
  return nonzero;
}

double Microjoules(const Instruments& instruments) {
  return instruments.microjoules == nullptr ? -1 : instruments.microjoules();
}

// Times `run` (called with its number) instruments.runs times.
template <typename Run>
Latency Time(const Run& run, const Instruments& instruments) {
  const std::size_t runs = std::max<std::size_t>(1, instruments.runs);
  std::size_t next = 0;
  const std::int64_t begin = instruments.nanoseconds();
  const std::size_t warm = std::max<std::size_t>(3, runs / 10);
  for (std::size_t i = 0; i < warm; ++i) run(next++);
  const double once =
      static_cast<double>(instruments.nanoseconds() - begin) / static_cast<double>(warm);
  const auto group = static_cast<std::size_t>(std::ceil(20e3 / std::clamp(once, 20.0, 20e3)));
  std::vector<double> times;
  const double energy_before = Microjoules(instruments);
  for (std::size_t i = 0; i < runs; ++i) {
    const std::int64_t start = instruments.nanoseconds();
    for (std::size_t k = 0; k < group; ++k) run(next++);
    times.push_back(static_cast<double>(instruments.nanoseconds() - start) * 1e-3 /
                    static_cast<double>(group));
  }
  const double energy = Microjoules(instruments) - energy_before;
  std::ranges::sort(times);
  Latency latency{times.front(), times[times.size() / 2], times[times.size() * 99 / 100], {}};
  if (energy_before >= 0 && energy >= 0)
    latency.microjoules = energy / static_cast<double>(runs * group);
  return latency;
}

}  // namespace

ModelCost CostOfModel(const WorkingModel& model) {
  const bool integers = model.quantized.has_value();
  const nn::Graph& graph = integers ? model.quantized->graph : model.graph;
  const nn::OperatorCost cost = nn::CostOf(graph);
  const std::size_t value_bytes = integers ? 1 : sizeof(float);
  // A dynamic model keeps its activations in fp32.
  const std::size_t activation_bytes = integers && !model.quantized->dynamic() ? 1 : sizeof(float);
  ModelCost result;
  result.parameters = graph.parameters.total();
  result.nonzero = integers ? CountNonzero(*model.quantized)
                            : model.parameters.size() - static_cast<std::size_t>(std::ranges::count(
                                                            model.current_parameters(), 0.0F));
  result.multiply_accumulates = cost.flops / 2;
  result.bytes_moved = (cost.activation_bytes * static_cast<double>(activation_bytes) +
                        cost.parameter_bytes * static_cast<double>(value_bytes)) /
                       sizeof(float);
  result.activation_peak = ActivationPeak(graph, activation_bytes);
  return result;
}

Result<std::optional<Latency>> MeasureLatency(const WorkingModel& model, const data::Subset& inputs,
                                              const Instruments& instruments) {
  if (instruments.nanoseconds == nullptr || inputs.empty()) return std::optional<Latency>();
  const std::size_t batch = std::max<std::size_t>(1, instruments.batch);
  const std::size_t values = batch * inputs.dataset().features();
  const std::size_t blocks = std::max<std::size_t>(1, 64 / batch);
  std::vector<float> samples(blocks * values);
  for (std::size_t i = 0; i < blocks * batch; ++i) {
    inputs.CopySample(i % inputs.count(),
                      std::span(samples).subspan(i * (values / batch), values / batch));
  }
  const auto block = [&](std::size_t i) {
    return std::span<const float>(samples).subspan(i % blocks * values, values);
  };
  std::vector<float> output(batch * model.graph.output_shape().count());
  if (model.quantized) {
    FL_TRY(nn::IntegerSession session, nn::IntegerSession::Create(*model.quantized, batch));
    return std::optional(
        Time([&](std::size_t i) { session.Run(block(i), batch, output); }, instruments));
  }
  FL_TRY(nn::Session session, nn::Session::Create(model.graph, batch));
  return std::optional(
      Time([&](std::size_t i) { session.Run(model.current_parameters(), block(i), batch, output); },
           instruments));
}

}  // namespace fl::deploy
