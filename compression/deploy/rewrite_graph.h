#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fl/common/base/check.h"
#include "fl/common/base/result.h"
#include "fl/common/nn/graph.h"

namespace fl::deploy {

// The index of the node of this name. kNotFound names the nodes that there are.
Result<std::size_t> FindNode(const nn::Graph& graph, std::string_view name);

// Edits a graph node by node and builds it again: shapes and the layout of parameters are inferred
// anew (nn::BuildGraph), names stay as they are. Nodes are written as the lines of BuildGraph
// without from= and without operands: "conv2_b: conv 16 1x1 same". A name of no node, and the
// input where a layer is meant, is an error (kNotFound, kInvalidArgument), and the graph is then
// unchanged. What the edited layers cannot be (a shape that does not fit, a name twice) is found
// by Build. Tensors are carried over by CarryTensors. Thread safety: distinct objects safe.
class GraphEditor {
 public:
  // The graph is copied.
  explicit GraphEditor(const nn::Graph& graph);

  // Output channels of a conv, units of a dense layer.
  Result<> SetChannels(std::string_view name, std::size_t channels);
  // Groups of a conv; 1: an ordinary one.
  Result<> SetGroups(std::string_view name, std::size_t groups);
  // What a reshape makes.
  Result<> SetShape(std::string_view name, const Shape& shape);
  // A new node that reads NAME; all who read NAME read it instead. `line` starts with its name.
  Result<> InsertAfter(std::string_view name, std::string_view line);
  // A chain in the place of a node of one input: the first reads what NAME read, the readers of
  // NAME read the last. Each line starts with a name; NAME may be one of them.
  Result<> Replace(std::string_view name, std::span<const std::string> lines);
  // The readers of NAME read its input number `operand` instead. The output can be removed only
  // when that input stands right before it.
  Result<> Remove(std::string_view name, std::size_t operand = 0);
  // Removes every node that nobody reads, but for the output and for those that nobody read in
  // the graph as it was given (heads); so do nodes that only the removed ones read.
  void RemoveUnread();

  // Tensors that were frozen stay frozen. Errors: of nn::BuildGraph.
  Result<nn::Graph> Build() const;

 private:
  struct Layer {
    std::string name;
    std::string operation;            // "conv 16 3x3 same": without name, operands and from=.
    std::vector<std::string> inputs;  // In order.
  };

  Result<std::size_t> Find(std::string_view name) const;
  static Result<Layer> ReadLine(std::string_view line);
  void Redirect(std::string_view from, std::string_view to);
  bool IsRead(std::string_view name) const;

  std::vector<Layer> layers_;  // Without the input.
  std::vector<std::string> heads_;
  std::vector<std::string> frozen_;
  Shape input_;
  nn::LossKind loss_;
};

// Which indices of a tensor's axis stay, ascending.
struct AxisSelection {
  std::string tensor;
  std::size_t axis = 0;
  std::vector<std::size_t> kept;
};

// The values of a tensor at the kept indices of one axis. `values`: shape.count() of them; each
// index is below shape[axis].
template <typename T>
std::vector<T> SelectAlongAxis(std::span<const T> values, const Shape& shape, std::size_t axis,
                               std::span<const std::size_t> kept) {
  std::size_t inner = 1;
  for (std::size_t i = axis + 1; i < shape.rank(); ++i) inner *= shape[i];
  const std::size_t outer = shape.count() / (inner * shape[axis]);
  std::vector<T> selected;
  selected.reserve(outer * kept.size() * inner);
  for (std::size_t block = 0; block < outer; ++block) {
    for (const std::size_t index : kept) {
      FL_CHECK(index < shape[axis], "SelectAlongAxis: an index beyond the axis");
      const auto part = values.subspan((block * shape[axis] + index) * inner, inner);
      selected.insert(selected.end(), part.begin(), part.end());
    }
  }
  return selected;
}

// The parameters of the graph `to` from those of `from`, by name: a tensor of `fresh` as it stands
// there; else the tensor of the same name, at the selected indices where `selections` name it (one
// after the other where they name it more than once). kNotFound: a tensor that is in neither;
// kShapeMismatch: one whose size is not what `to` says.
Result<std::vector<float>> CarryTensors(
    const nn::Graph& from, std::span<const float> parameters, const nn::Graph& to,
    std::span<const AxisSelection> selections = {},
    const std::map<std::string, std::vector<float>>& fresh = {});

}  // namespace fl::deploy
