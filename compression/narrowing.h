#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/nn/graph.h"
#include "fl/common/random/rng_stream.h"

namespace fl {

// Weights [first, first + count) of the narrow network, whose inputs count `factor` times.
struct ScaledRange {
  std::size_t first = 0;
  std::size_t count = 0;
  float factor = 1;
};

// Federated dropout at one width for all (Caldas et al. 2018, arXiv:1812.07210): in each round
// every hidden layer (all with weights but the last) keeps the same number of its units, dense
// units or channels, drawn anew; all clients of the round train the same narrow network and send
// its changes only. A layer that follows n units of which k are kept takes its inputs n / k times
// in training, as inverted dropout does, so that the whole network needs no other weights.
// Immutable. Thread safety: shared objects safe.
class Narrowing {
 public:
  // A share of `width`, in (0, 1), rounded up to whole units, of each hidden layer of a chain; the
  // draws follow from `seed` and the round. kInvalidArgument when there is no hidden layer or the
  // graph has factored weights or frozen tensors.
  static Result<Narrowing> Create(const nn::Graph& graph, double width, std::uint64_t seed);

  // The narrow network: the tensors of the whole one, in their order, of smaller shapes.
  const nn::Graph& graph() const { return narrow_; }
  std::span<const ScaledRange> scaled() const { return scaled_; }

  // Which coordinates of a tensor the round trains, ascending: one for each value of the narrow
  // tensor, in its order.
  std::vector<std::uint32_t> CoordinatesOf(std::size_t tensor, std::uint64_t round) const;
  // Those of all tensors in the whole network's flat vector, in the narrow one's order.
  std::vector<std::uint64_t> AllCoordinates(std::uint64_t round) const;

 private:
  // A hidden layer's units.
  struct Layer {
    std::size_t units = 0;
    std::size_t kept = 0;
  };
  // A tensor as [repeats][inputs][outputs]; the layers whose units inputs and outputs are: none
  // where all are kept.
  struct Axes {
    std::size_t repeats = 1;
    std::size_t inputs = 1;
    std::size_t outputs = 1;
    std::optional<std::size_t> from;
    std::optional<std::size_t> to;
  };

  Narrowing() = default;
  Result<> FindLayers(const nn::Graph& graph, double width);
  Result<> BuildNarrow(const nn::Graph& graph);
  std::vector<std::uint32_t> UnitsOf(const std::optional<std::size_t>& layer, std::size_t all,
                                     std::uint64_t round) const;

  std::uint64_t seed_ = 0;
  TensorLayout whole_;
  nn::Graph narrow_;
  std::vector<Layer> layers_;
  std::vector<Axes> axes_;  // One a tensor.
  std::vector<ScaledRange> scaled_;
};

}  // namespace fl
