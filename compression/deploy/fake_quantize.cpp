#include "fl/compression/deploy/fake_quantize.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "fl/common/nn/gradient.h"
#include "fl/common/nn/operator.h"

namespace fl::deploy {
namespace {

// A training step's forward pass with the engine's values.
class EngineHook final : public nn::TrainingHook {
 public:
  explicit EngineHook(const EngineValues& engine) : engine_(engine) {}

  void OnForward(std::size_t node, std::span<float> output) override { engine_.Put(node, output); }
  double OnBackward(std::size_t /*node*/, std::span<const float> /*output*/,
                    std::span<float> /*gradient*/) override {
    return 0;
  }

 private:
  const EngineValues& engine_;
};

}  // namespace

void RoundToScale(const nn::ActivationScale& scale, std::span<float> values) {
  // Half to even for what the clamp leaves: adding 1.5 * 2^23 has no room for a fraction.
  constexpr float kShift = 12582912.0F;
  const auto least = static_cast<float>(-128 - scale.zero_point);
  const auto most = static_cast<float>(127 - scale.zero_point);
  for (float& value : values) {
    const float unit = std::min(std::max(value / scale.scale, least), most);
    value = scale.scale * ((unit + kShift) - kShift);
  }
}

bool RoundsOutput(const nn::Graph& graph, std::size_t node) {
  const nn::OpKind kind = graph.nodes[node].kind;
  const bool last = node + 1 == graph.nodes.size();
  if (last && (kind == nn::OpKind::kDense || kind == nn::OpKind::kConv2d)) return false;
  return nn::RulesOf(kind).quantize != nn::QuantizeRule::kCommutes;
}

Result<EngineValues> EngineValues::Create(const nn::QuantizedModel& model, std::size_t batch_max) {
  FL_TRY(nn::IntegerSession session, nn::IntegerSession::CreateObserved(model, batch_max));
  return EngineValues(std::move(session));
}

void EngineValues::Run(std::span<const float> input, std::size_t count) {
  outputs_.resize(count * session_.graph().output_shape().count());
  session_.Run(input, count, outputs_);
}

void EngineValues::Put(std::size_t node, std::span<float> output) const {
  const nn::Graph& graph = session_.graph();
  if (graph.nodes[node].kind == nn::OpKind::kMaxPool) return;
  if (node + 1 == graph.nodes.size()) {
    std::ranges::copy(outputs_, output.begin());
  } else {
    session_.Read(node, output);
  }
}

Result<EngineDifference> CompareWithEngine(const nn::QuantizedModel& model,
                                           std::span<const float> samples, std::size_t count) {
  constexpr std::size_t kBatch = 32;
  const std::size_t features = model.graph.input_shape().count();
  const std::size_t outputs = model.graph.output_shape().count();
  if (count == 0 || samples.size() != count * features)
    return Error{ErrorCode::kInvalidArgument, "simulation: expected whole samples"};
  if (model.dynamic()) {
    return Error{ErrorCode::kUnsupported,
                 "simulation: a model whose activations are rounded in each run has no scales to "
                 "compare in (lsb_max is for ptq_static)"};
  }
  const std::size_t batch = std::min(count, kBatch);
  FL_TRY(nn::IntegerSession engine, nn::IntegerSession::Create(model, batch));
  FL_TRY(EngineValues values, EngineValues::Create(model, batch));
  FL_TRY(nn::TrainingStep simulation, nn::TrainingStep::Create(model.graph, batch));
  const NamedTensors parameters = nn::Dequantize(model);
  std::vector<float> gradient(parameters.values.size());
  std::vector<float> exact(batch * outputs);
  EngineHook hook(values);
  EngineDifference difference;
  std::size_t same = 0;
  for (std::size_t at = 0; at < count; at += batch) {
    const std::size_t size = std::min(batch, count - at);
    const auto block = samples.subspan(at * features, size * features);
    std::vector<float> input(block.begin(), block.end());
    engine.Run(input, size, std::span(exact).first(size * outputs));
    values.Run(input, size);
    RoundToScale(model.activations.front(), input);
    nn::TrainingBatch call;
    call.count = size;
    call.input = input;
    call.hook = &hook;
    call.running_statistics = true;
    simulation.Compute(parameters.values, call, gradient);
    for (std::size_t i = 0; i < size * outputs; ++i) {
      const double gap = std::abs(double{exact[i]} - double{simulation.outputs()[i]});
      same += gap == 0 ? 1 : 0;
      difference.lsb_max =
          std::max(difference.lsb_max, gap / double{model.activations.back().scale});
    }
  }
  difference.exact = static_cast<double>(same) / static_cast<double>(count * outputs);
  return difference;
}

}  // namespace fl::deploy
