#include "fl/compression/deploy/prune_layers.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "fl/common/nn/evaluate.h"
#include "fl/compression/deploy/rewrite_graph.h"
#include "fl/compression/deploy/update_norms.h"

namespace fl::deploy {
namespace {

constexpr std::size_t kBatch = 64;

bool IsProduct(nn::OpKind kind) {
  return kind == nn::OpKind::kDense || kind == nn::OpKind::kConv2d;
}

bool IsNorm(nn::OpKind kind) {
  return kind == nn::OpKind::kBatchNorm || kind == nn::OpKind::kLayerNorm;
}

bool IsActivation(nn::OpKind kind) {
  return kind == nn::OpKind::kRelu || kind == nn::OpKind::kRelu6 ||
         kind == nn::OpKind::kHardSwish || kind == nn::OpKind::kSigmoid ||
         kind == nn::OpKind::kTanh;
}

// The cut as the editor has made it; nothing where the graph cannot be built or no product goes.
std::optional<LayerCut> Finish(const nn::Graph& graph, std::string name, GraphEditor editor) {
  editor.RemoveUnread();
  auto left = editor.Build();
  if (!left || left->output_shape() != graph.output_shape()) return std::nullopt;
  LayerCut cut{std::move(name), {}, *std::move(left)};
  bool product = false;
  for (const nn::Node& node : graph.nodes) {
    const bool stays = std::ranges::any_of(
        cut.graph.nodes, [&](const nn::Node& other) { return other.name == node.name; });
    if (stays) continue;
    cut.removed.push_back(node.name);
    product = product || IsProduct(node.kind) || node.kind == nn::OpKind::kDepthwise;
  }
  if (!product) return std::nullopt;
  return cut;
}

std::optional<LayerCut> CutBranch(const nn::Graph& graph, const nn::Node& add, std::size_t kept) {
  GraphEditor editor(graph);
  if (!editor.Remove(add.name, kept)) return std::nullopt;
  return Finish(graph, add.name, std::move(editor));
}

std::optional<LayerCut> CutLayer(const nn::Graph& graph, std::size_t index) {
  const nn::Node& node = graph.nodes[index];
  const nn::Node& before = graph.nodes[node.inputs[0]];
  if (before.shape != node.shape) return std::nullopt;
  GraphEditor editor(graph);
  if (!editor.Remove(node.name)) return std::nullopt;
  std::optional<std::size_t> reader = OnlyReader(graph, index);
  if (reader && IsNorm(graph.nodes[*reader].kind)) {
    if (!editor.Remove(graph.nodes[*reader].name)) return std::nullopt;
    reader = OnlyReader(graph, *reader);
  }
  if (reader && IsActivation(graph.nodes[*reader].kind) && IsActivation(before.kind)) {
    if (!editor.Remove(graph.nodes[*reader].name)) return std::nullopt;
  }
  return Finish(graph, node.name, std::move(editor));
}

Result<double> LossOf(const nn::Graph& graph, std::span<const float> parameters,
                      const data::Subset& samples, std::size_t most) {
  FL_TRY(nn::Session session, nn::Session::Create(graph, kBatch));
  const std::size_t count = std::min(samples.count(), most);
  const std::size_t features = graph.input_shape().count();
  const bool classes = graph.loss == nn::LossKind::kSoftmaxCrossEntropy;
  std::size_t at = 0;
  const nn::Evaluation evaluation =
      nn::Evaluate(session, parameters, [&](const nn::BatchBuffer& buffer) {
        const std::size_t size = std::min(kBatch, count - at);
        for (std::size_t i = 0; i < size; ++i, ++at) {
          samples.CopySample(at, buffer.input.subspan(i * features, features));
          if (classes) {
            buffer.labels[i] = samples.label(at);
          } else {
            buffer.targets[i] = samples.target(at);
          }
        }
        return size;
      });
  return evaluation.loss;
}

bool IsWanted(const PruneLayersConfig& config, const std::string& name) {
  return config.layers.empty() || std::ranges::find(config.layers, name) != config.layers.end();
}

struct Best {
  LayerCut cut;
  std::vector<float> parameters;
  double loss = 0;
};

// The cut without which the loss is least, the first on a tie; nothing where none can be made.
Result<std::optional<Best>> FindBest(const PruneLayersConfig& config,
                                     const ImportanceInputs& inputs, const WorkingModel& model) {
  std::optional<Best> best;
  for (LayerCut& cut : FindLayerCuts(model.graph)) {
    if (!IsWanted(config, cut.name)) continue;
    FL_TRY(std::vector<float> parameters, CarryTensors(model.graph, model.parameters, cut.graph));
    FL_TRY_OK(UpdateNorms(cut.graph, inputs, parameters));
    FL_TRY(const double loss, LossOf(cut.graph, parameters, inputs.samples, config.samples));
    if (!std::isfinite(loss)) {
      return Error{ErrorCode::kNotFinite,
                   "expected a finite loss without " + cut.name + ", found another"};
    }
    if (best && best->loss <= loss) continue;
    best = Best{std::move(cut), std::move(parameters), loss};
  }
  return best;
}

void Apply(Best best, WorkingModel& model) {
  std::erase_if(model.masks,
                [&](const auto& mask) { return !best.cut.graph.parameters.Find(mask.first); });
  const auto gone = [&](const auto& entry) {
    return std::ranges::find(best.cut.removed, entry.first) != best.cut.removed.end();
  };
  std::erase_if(model.precision, gone);
  std::erase_if(model.ranges, gone);
  model.graph = std::move(best.cut.graph);
  model.parameters = std::move(best.parameters);
}

std::string Describe(const LayerCut& cut) {
  std::string text;
  for (const std::string& name : cut.removed) text += (text.empty() ? "" : ", ") + name;
  return cut.name + " (" + text + ")";
}

Result<> CheckInputs(const PruneLayersConfig& config, const ImportanceInputs& inputs,
                     const nn::Graph& graph) {
  for (const std::string& name : config.layers) FL_TRY_OK(FindNode(graph, name));
  return CheckSamples(graph, inputs.samples);
}

}  // namespace

std::vector<LayerCut> FindLayerCuts(const nn::Graph& graph) {
  std::vector<LayerCut> cuts;
  for (std::size_t i = 1; i < graph.nodes.size(); ++i) {
    const nn::Node& node = graph.nodes[i];
    if (node.kind == nn::OpKind::kAdd && node.inputs.size() == 2) {
      for (std::size_t kept = 0; kept < 2; ++kept) {
        if (auto cut = CutBranch(graph, node, kept)) cuts.push_back(*std::move(cut));
      }
    } else if (IsProduct(node.kind)) {
      if (auto cut = CutLayer(graph, i)) cuts.push_back(*std::move(cut));
    }
  }
  return cuts;
}

Result<PruneLayersOutcome> PruneLayers(const PruneLayersConfig& config,
                                       const ImportanceInputs& inputs, const Retrain& retrain,
                                       WorkingModel& model) {
  FL_TRY_OK(CheckInputs(config, inputs, model.graph));
  PruneLayersOutcome outcome;
  outcome.before = SizeOf(model.graph);
  outcome.after = outcome.before;
  const ModelSize at_most = config.budget.AtMost(outcome.before);
  const auto done = [&] {
    return config.budget.any() ? Fits(outcome.after, at_most) : outcome.cuts.size() >= config.count;
  };
  for (std::uint32_t step = 1; !done(); ++step) {
    FL_TRY(std::optional<Best> best,
           FindBest(config, {inputs.samples, inputs.rng.Child("step", step)}, model));
    if (!best) break;
    outcome.cuts.push_back(Describe(best->cut));
    Apply(*std::move(best), model);
    outcome.after = SizeOf(model.graph);
    if (retrain) FL_TRY_OK(retrain(step, model));
  }
  if (outcome.cuts.empty() && !done()) {
    return Error{ErrorCode::kInvalidArgument,
                 "expected a branch of an add, or a layer whose output has its input's shape, "
                 "found none that can go"};
  }
  if (config.budget.any()) {
    outcome.unreached =
        WhyUnreached(outcome.after, at_most, "since no other layer can go as a whole");
  } else if (!done()) {
    outcome.unreached = "expected " + std::to_string(config.count) + " layers to go, found only " +
                        std::to_string(outcome.cuts.size()) + " that can";
  }
  return outcome;
}

}  // namespace fl::deploy
