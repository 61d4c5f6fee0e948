#include "fl/compression/deploy/early_exits.h"

#include <algorithm>

#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/loss.h"
#include "fl/compression/deploy/rewrite_graph.h"

namespace fl::deploy {
namespace {

// Puts a node behind the one at `place`, which it reads; nobody reads it yet.
void InsertNode(nn::Graph& graph, std::size_t place, nn::Node node) {
  for (nn::Node& other : graph.nodes) {
    for (std::size_t& input : other.inputs) input += input > place ? 1 : 0;
  }
  node.inputs = {place};
  graph.nodes.insert(graph.nodes.begin() + static_cast<std::ptrdiff_t>(place) + 1, std::move(node));
}

nn::Node MakeNode(nn::OpKind kind, std::string name, Shape shape) {
  nn::Node node;
  node.kind = kind;
  node.name = std::move(name);
  node.shape = std::move(shape);
  return node;
}

}  // namespace

Result<ExitGraph> AddExits(const nn::Graph& graph, std::span<const std::string> after) {
  nn::Graph edited = graph;
  for (std::size_t i = 0; i < after.size(); ++i) {
    FL_TRY(const std::size_t place, FindNode(edited, after[i]));
    const bool twice = std::ranges::count(after, after[i]) > 1;
    if (place == 0 || place + 1 == edited.nodes.size() || twice) {
      return Error{ErrorCode::kInvalidArgument,
                   "expected exits behind inner layers, each once, found " + after[i]};
    }
    const std::string name = "exit" + std::to_string(i + 1);
    const Shape& shape = edited.nodes[place].shape;
    std::size_t last = place;
    if (shape.rank() == 3) {
      InsertNode(edited, last++,
                 MakeNode(nn::OpKind::kGlobalAvgPool, name + "_pool", Shape{shape[2]}));
    }
    InsertNode(edited, last, MakeNode(nn::OpKind::kDense, name, graph.output_shape()));
  }
  ExitGraph exits;
  FL_TRY(exits.graph,
         nn::BuildGraph(graph.input_shape(), nn::DescribeLayers(edited), nn::LossName(graph.loss)));
  for (std::size_t i = 0; i < after.size(); ++i) {
    FL_TRY(const std::size_t head, FindNode(exits.graph, "exit" + std::to_string(i + 1)));
    exits.heads.push_back(head);
  }
  return exits;
}

Result<nn::Graph> RemoveExits(const nn::Graph& graph) {
  GraphEditor editor(graph);
  for (std::size_t i = 1; FindNode(graph, "exit" + std::to_string(i)); ++i) {
    const std::string name = "exit" + std::to_string(i);
    FL_TRY_OK(editor.Remove(name));
    if (FindNode(graph, name + "_pool")) FL_TRY_OK(editor.Remove(name + "_pool"));
  }
  return editor.Build();
}

void ExitLoss::Teach(const FineTuneStep& step, std::span<float> /*logits*/) {
  labels_ = step.batch.labels;
}

void ExitLoss::OnForward(std::size_t node, std::span<float> output) {
  if (node + 1 == exits_.graph.nodes.size()) deepest_.assign(output.begin(), output.end());
}

double ExitLoss::OnBackward(std::size_t node, std::span<const float> output,
                            std::span<float> gradient) {
  if (std::ranges::find(exits_.heads, node) == exits_.heads.end()) return 0;
  constexpr nn::Distillation kSettings{.temperature = 3, .hard_weight = 0.7F};
  std::vector<float> own(gradient.size());
  const double loss = nn::DistillationLoss(output, deepest_, exits_.graph.output_shape().count(),
                                           labels_, kSettings, own);
  for (std::size_t i = 0; i < own.size(); ++i) gradient[i] += own[i];
  return loss;
}

}  // namespace fl::deploy
