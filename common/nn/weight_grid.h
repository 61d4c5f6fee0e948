#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/nn/graph.h"
#include "fl/common/nn/weight_coding.h"

namespace fl::nn {

// A weight as a matrix: all extents but the last are its rows (the inputs of an output), the last
// one its columns (the output channels): value (k, c) lies at k * channels + c.
struct WeightMatrix {
  std::span<const float> values;
  std::size_t channels = 1;

  std::size_t depth() const { return values.size() / channels; }
};

// The grid that a weight's values are rounded to (Krishnamoorthi 2018, arXiv:1806.08342):
//   value = scale[c] * multiplier[c, g] * (code - zero[c, g]),   g = k / group
// Symmetric: codes in [-(2^(bits-1) - 1), 2^(bits-1) - 1], no zeros. Asymmetric: codes in [0,
// 2^bits - 1]. A group's multiplier is a whole number, so that the engine multiplies 8-bit weights
// whatever the coding: multiplier * |code - zero| <= 127.
struct WeightGrid {
  WeightSpec spec;
  std::size_t depth = 0;
  std::size_t groups = 1;                // Of a channel.
  std::vector<float> scale;              // One for each channel, > 0.
  std::vector<std::uint8_t> multiplier;  // channels x groups, >= 1.
  std::vector<std::uint8_t> zero;        // channels x groups; all 0 where symmetric.

  std::size_t channels() const { return scale.size(); }
  std::int32_t code_min() const;
  std::int32_t code_max() const;
  std::size_t GroupOf(std::size_t k, std::size_t channel) const;  // Index into multiplier and zero.
  friend bool operator==(const WeightGrid&, const WeightGrid&) = default;
};

// By the name of the node.
using WeightGrids = std::map<std::string, WeightGrid>;

// How far the grid reaches.
enum class WeightClip : std::uint8_t {
  kMinMax,        // To the largest |value| (symmetric) or both extremes (asymmetric).
  kSquaredError,  // To the share of that, of 100 between 0.1 and 1, that loses least: sum of
                  // (value - rounded)^2. What fewer than 8 bits want: few levels are better spent
                  // where the values are.
};

// What is used where nobody asks for another: kMinMax at 8 bits, kSquaredError below.
WeightClip ClipOf(const WeightSpec& spec);

// A scale for each channel (by tensor: one for all of them), not below that channel's `scale_min`
// where one is given (what its bias needs). By group a channel's scale is such that its largest
// group has the largest multiplier. kInvalidArgument: a spec (WeightSpec::Validate) or sizes that
// cannot be meant; kNotFinite.
Result<WeightGrid> FitWeightGrid(const WeightMatrix& weight, const WeightSpec& spec,
                                 WeightClip clip, std::span<const float> scale_min = {});

// Codes nearest to the values (ties to even), in the values' order. Sizes must be the grid's.
void RoundToCodes(const WeightGrid& grid, std::span<const float> values,
                  std::span<std::int16_t> codes);
// What the codes stand for; the engine's weight is multiplier * (code - zero).
void ValuesOfCodes(const WeightGrid& grid, std::span<const std::int16_t> codes,
                   std::span<float> values);
// Both: the values' nearest points of the grid. `rounded` may be `values`.
void RoundToGrid(const WeightGrid& grid, std::span<const float> values, std::span<float> rounded);

// The engine's integers of values on a grid, output channel first. A channel whose scale is below
// scale_min (one for each channel: what its bias needs) gets that one, its values rounded anew.
CodedWeight CodeOnGrid(const WeightGrid& grid, std::span<const float> values,
                       std::span<const float> scale_min);

// Bits that the coded weight takes in a file: codes, and below 8 bits a byte for each group's
// multiplier and zero. Scales are extra, 32 bits for each channel.
std::uint64_t WeightBits(const WeightSpec& spec, std::size_t depth, std::size_t channels);

// The weight matrix of a dense or convolution node (a plain weight), out of all parameters.
WeightMatrix WeightOf(const Graph& graph, const Node& node, std::span<const float> parameters);
// Whether a node multiplies by a weight that can be coded: dense, conv, depthwise.
bool HasWeight(const Node& node);

}  // namespace fl::nn
