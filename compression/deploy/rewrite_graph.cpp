#include "fl/compression/deploy/rewrite_graph.h"

#include <algorithm>

#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/operator.h"

namespace fl::deploy {
namespace {

Error Invalid(std::string message) {
  return {ErrorCode::kInvalidArgument, std::move(message)};
}

Error NoSuchLayer(std::string_view name, const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& known : names) list += (list.empty() ? "" : ", ") + known;
  return {ErrorCode::kNotFound, "expected one of the layers " + list + "; found \"" +
                                    std::string(name.substr(0, 64)) + "\""};
}

bool TakesNamedOperands(nn::OpKind kind) {
  return kind == nn::OpKind::kAdd || kind == nn::OpKind::kMultiply || kind == nn::OpKind::kConcat;
}

// The node's line without its name, its operands and from=.
std::string OperationOf(const nn::Node& node, const std::string& line) {
  if (TakesNamedOperands(node.kind)) return std::string(nn::RulesOf(node.kind).name);
  const std::size_t colon = line.find(": ");
  const std::size_t first = colon == std::string::npos ? 0 : colon + 2;
  return line.substr(first, line.find(" from=") - first);
}

// Replaces the word that starts at `first`.
void ReplaceWord(std::string& text, std::size_t first, const std::string& word) {
  text.replace(first, std::min(text.find(' ', first), text.size()) - first, word);
}

}  // namespace

Result<std::size_t> FindNode(const nn::Graph& graph, std::string_view name) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    if (graph.nodes[i].name == name) return i;
    if (i > 0) names.push_back(graph.nodes[i].name);
  }
  return NoSuchLayer(name, names);
}

GraphEditor::GraphEditor(const nn::Graph& graph) : input_(graph.input_shape()), loss_(graph.loss) {
  const std::vector<std::string> lines = nn::DescribeLayers(graph);
  for (std::size_t i = 1; i < graph.nodes.size(); ++i) {
    const nn::Node& node = graph.nodes[i];
    Layer layer{node.name, OperationOf(node, lines[i - 1]), {}};
    for (const std::size_t input : node.inputs) layer.inputs.push_back(graph.nodes[input].name);
    layers_.push_back(std::move(layer));
  }
  for (const Layer& layer : layers_) {
    if (!IsRead(layer.name)) heads_.push_back(layer.name);
  }
  for (const std::size_t tensor : graph.frozen) frozen_.push_back(graph.parameters[tensor].name);
}

Result<std::size_t> GraphEditor::Find(std::string_view name) const {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    if (layers_[i].name == name) return i;
    names.push_back(layers_[i].name);
  }
  return NoSuchLayer(name, names);
}

Result<GraphEditor::Layer> GraphEditor::ReadLine(std::string_view line) {
  const std::size_t colon = line.find(": ");
  if (colon == std::string_view::npos || colon == 0 || colon + 2 == line.size()) {
    return Invalid("expected \"NAME: OPERATOR ...\", found \"" + std::string(line.substr(0, 64)) +
                   "\"");
  }
  return Layer{std::string(line.substr(0, colon)), std::string(line.substr(colon + 2)), {}};
}

void GraphEditor::Redirect(std::string_view from, std::string_view to) {
  for (Layer& layer : layers_) {
    for (std::string& input : layer.inputs) {
      if (input == from) input = to;
    }
  }
}

bool GraphEditor::IsRead(std::string_view name) const {
  return std::ranges::any_of(layers_, [&](const Layer& layer) {
    return std::ranges::find(layer.inputs, name) != layer.inputs.end();
  });
}

Result<> GraphEditor::SetChannels(std::string_view name, std::size_t channels) {
  FL_TRY(const std::size_t at, Find(name));
  std::string& operation = layers_[at].operation;
  if (!operation.starts_with("conv ") && !operation.starts_with("dense ")) {
    return Invalid("expected a conv or a dense layer, found \"" + operation + "\" in " +
                   layers_[at].name);
  }
  ReplaceWord(operation, operation.find(' ') + 1, std::to_string(channels));
  return {};
}

Result<> GraphEditor::SetGroups(std::string_view name, std::size_t groups) {
  FL_TRY(const std::size_t at, Find(name));
  std::string& operation = layers_[at].operation;
  if (!operation.starts_with("conv ")) {
    return Invalid("expected a conv, found \"" + operation + "\" in " + layers_[at].name);
  }
  const std::string word = "groups=" + std::to_string(groups);
  const std::size_t first = operation.find("groups=");
  if (first != std::string::npos) {
    ReplaceWord(operation, first, word);
  } else if (groups != 1) {
    operation += " " + word;
  }
  return {};
}

Result<> GraphEditor::SetShape(std::string_view name, const Shape& shape) {
  FL_TRY(const std::size_t at, Find(name));
  if (!layers_[at].operation.starts_with("reshape ")) {
    return Invalid("expected a reshape, found \"" + layers_[at].operation + "\" in " +
                   layers_[at].name);
  }
  layers_[at].operation = "reshape " + shape.ToText();
  return {};
}

Result<> GraphEditor::InsertAfter(std::string_view name, std::string_view line) {
  FL_TRY(Layer layer, ReadLine(line));
  std::size_t place = 0;
  if (name != "input") {
    FL_TRY(place, Find(name));
    ++place;
  }
  Redirect(name, layer.name);
  layer.inputs = {std::string(name)};
  layers_.insert(layers_.begin() + static_cast<std::ptrdiff_t>(place), std::move(layer));
  return {};
}

Result<> GraphEditor::Replace(std::string_view name, std::span<const std::string> lines) {
  FL_TRY(const std::size_t at, Find(name));
  if (lines.empty() || layers_[at].inputs.size() != 1) {
    return Invalid("expected a layer of one input and what comes in its place, found " +
                   std::to_string(layers_[at].inputs.size()) + " inputs of " + layers_[at].name +
                   " and " + std::to_string(lines.size()) + " lines");
  }
  std::vector<Layer> chain;
  for (const std::string& line : lines) {
    FL_TRY(Layer layer, ReadLine(line));
    layer.inputs = {chain.empty() ? layers_[at].inputs[0] : chain.back().name};
    chain.push_back(std::move(layer));
  }
  Redirect(layers_[at].name, chain.back().name);
  const auto place = layers_.erase(layers_.begin() + static_cast<std::ptrdiff_t>(at));
  layers_.insert(place, chain.begin(), chain.end());
  return {};
}

Result<> GraphEditor::Remove(std::string_view name, std::size_t operand) {
  FL_TRY(const std::size_t at, Find(name));
  const Layer removed = layers_[at];
  if (operand >= removed.inputs.size()) {
    return Invalid("expected an input below " + std::to_string(removed.inputs.size()) + " of " +
                   removed.name + ", found " + std::to_string(operand));
  }
  const std::string& input = removed.inputs[operand];
  if (at + 1 == layers_.size() && (at == 0 || layers_[at - 1].name != input)) {
    return Invalid("expected another layer than the output " + removed.name + ", whose input " +
                   input + " does not stand right before it");
  }
  Redirect(removed.name, input);
  layers_.erase(layers_.begin() + static_cast<std::ptrdiff_t>(at));
  return {};
}

void GraphEditor::RemoveUnread() {
  for (std::size_t i = layers_.size() - 1; i-- > 0;) {
    const std::string& name = layers_[i].name;
    if (IsRead(name) || std::ranges::find(heads_, name) != heads_.end()) continue;
    layers_.erase(layers_.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

Result<nn::Graph> GraphEditor::Build() const {
  std::vector<std::string> lines;
  for (const Layer& layer : layers_) {
    std::string line = layer.name + ": " + layer.operation;
    for (const std::string& operand : std::span(layer.inputs).subspan(1)) line += " " + operand;
    lines.push_back(line + " from=" + layer.inputs[0]);
  }
  FL_TRY(nn::Graph graph, nn::BuildGraph(input_, lines, nn::LossName(loss_)));
  for (const std::string& name : frozen_) {
    const auto tensor = graph.parameters.Find(name);
    if (tensor) graph.frozen.push_back(*tensor);
  }
  std::ranges::sort(graph.frozen);
  const auto repeated = std::ranges::unique(graph.frozen);
  graph.frozen.erase(repeated.begin(), repeated.end());
  return graph;
}

Result<std::vector<float>> CarryTensors(const nn::Graph& from, std::span<const float> parameters,
                                        const nn::Graph& to,
                                        std::span<const AxisSelection> selections,
                                        const std::map<std::string, std::vector<float>>& fresh) {
  std::vector<float> carried;
  carried.reserve(to.parameters.total());
  for (const TensorSpec& spec : to.parameters.specs()) {
    const auto given = fresh.find(spec.name);
    const auto tensor = from.parameters.Find(spec.name);
    std::vector<float> values;
    if (given != fresh.end()) {
      values = given->second;
    } else if (tensor) {
      const auto old = parameters.subspan(from.parameters.offset(*tensor),
                                          from.parameters[*tensor].shape.count());
      values.assign(old.begin(), old.end());
      const auto old_extents = from.parameters[*tensor].shape.extents();
      std::vector<std::size_t> extents(old_extents.begin(), old_extents.end());
      for (const AxisSelection& selection : selections) {
        if (selection.tensor != spec.name) continue;
        values = SelectAlongAxis<float>(values, Shape(extents), selection.axis, selection.kept);
        extents[selection.axis] = selection.kept.size();
      }
    } else {
      return Error{ErrorCode::kNotFound,
                   "expected values of the tensor " + spec.name + ", found none"};
    }
    if (values.size() != spec.shape.count()) {
      return Error{ErrorCode::kShapeMismatch, "expected " + spec.shape.ToText() + " values of " +
                                                  spec.name + ", found " +
                                                  std::to_string(values.size())};
    }
    carried.insert(carried.end(), values.begin(), values.end());
  }
  return carried;
}

}  // namespace fl::deploy
