#include "fl/common/nn/weight_grid.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "fl/common/base/check.h"

namespace fl::nn {
namespace {

constexpr int kClips = 100;
constexpr float kClipLeast = 0.1F;
constexpr std::int32_t kEngineMax = 127;
constexpr float kScaleLeast = 1e-20F;

// Half to even for |value| < 2^22, and fast: adding 1.5 * 2^23 leaves no bits for a fraction.
float RoundEven(float value) {
  constexpr float kShift = 12582912.0F;
  return (value + kShift) - kShift;
}

struct Levels {
  float least;  // Of code - zero when zero is 0.
  float most;
};

// The values of a channel's group, of a channel, or of a tensor.
using Slice = std::span<const float>;

struct Extremes {
  float low = 0;  // Zero is always among the values that a grid holds.
  float high = 0;
  float absolute() const { return std::max(-low, high); }
};

Extremes ExtremesOf(Slice slice) {
  Extremes extremes;
  for (const float value : slice) {
    extremes.low = std::min(extremes.low, value);
    extremes.high = std::max(extremes.high, value);
  }
  return extremes;
}

// The step at which `levels` just hold the extremes.
float WholeStep(const Extremes& extremes, const WeightSpec& spec, const Levels& levels) {
  const float width = spec.asymmetric ? extremes.high - extremes.low : extremes.absolute();
  return width / levels.most;
}

// The code of zero at a step; the part of the range that is cut is cut at both ends alike.
float ZeroAt(const Extremes& extremes, float step, const WeightSpec& spec, const Levels& levels) {
  if (!spec.asymmetric) return 0;
  const float width = std::max(extremes.high - extremes.low, kScaleLeast);
  const float share = std::min(1.0F, step * levels.most / width);
  return std::clamp(RoundEven(-extremes.low * share / step), 0.0F, levels.most);
}

double SquaredError(Slice slice, float step, float zero, const Levels& levels) {
  const float inverse = 1.0F / step;
  const float low = levels.least - zero;
  const float high = levels.most - zero;
  double sum = 0;
  for (const float value : slice) {
    const float at = std::clamp(value * inverse, low, high);
    const float error = value - step * RoundEven(at);
    sum += static_cast<double>(error * error);
  }
  return sum;
}

Levels LevelsOf(const WeightSpec& spec) {
  if (spec.asymmetric) return {0, static_cast<float>((1 << spec.bits) - 1)};
  const auto most = static_cast<float>((1 << (spec.bits - 1)) - 1);
  return {-most, most};
}

// Inputs of a group; 0: all of a channel.
std::size_t GroupSize(const WeightSpec& spec) {
  return spec.scaling == WeightScaling::kGroup ? spec.group : 0;
}

std::size_t GroupsOf(const WeightSpec& spec, std::size_t depth) {
  const std::size_t size = GroupSize(spec);
  return size == 0 ? 1 : (depth + size - 1) / size;
}

struct Fit {
  float step;
  float zero;
};

// What to fit, and the smallest scale that it may have.
struct Wish {
  const WeightSpec& spec;
  WeightClip clip;
  float scale_min;
};

// Of a slice that has its own scale.
Fit FitSlice(Slice slice, const Wish& wish) {
  const auto& [spec, clip, scale_min] = wish;
  const Levels levels = LevelsOf(spec);
  const Extremes extremes = ExtremesOf(slice);
  const float whole = std::max(WholeStep(extremes, spec, levels), scale_min);
  Fit best = {whole, ZeroAt(extremes, whole, spec, levels)};
  if (clip == WeightClip::kMinMax) return best;
  double least = SquaredError(slice, best.step, best.zero, levels);
  for (int i = 1; i < kClips; ++i) {
    const float share = 1.0F - (1.0F - kClipLeast) * static_cast<float>(i) / (kClips - 1);
    const float step = std::max(whole * share, scale_min);
    const float zero = ZeroAt(extremes, step, spec, levels);
    const double error = SquaredError(slice, step, zero, levels);
    if (error >= least) continue;
    least = error;
    best = {step, zero};
  }
  return best;
}

// Of a group: its step is a whole multiple of the channel's scale.
struct GroupFit {
  std::uint8_t multiplier;
  std::uint8_t zero;
};

GroupFit FitGroup(Slice slice, const Wish& wish, float scale) {
  const auto& [spec, clip, scale_min] = wish;
  const Levels levels = LevelsOf(spec);
  const auto multiplier_max = static_cast<int>(static_cast<float>(kEngineMax) / levels.most);
  const Extremes extremes = ExtremesOf(slice);
  const float whole = WholeStep(extremes, spec, levels) / scale;
  // The scale is the largest group's whole step over multiplier_max: a rounding error above a whole
  // number is no reason for the next one.
  const int most = std::clamp(static_cast<int>(std::ceil(whole - 1e-3F)), 1, multiplier_max);
  const int fewest = clip == WeightClip::kMinMax
                         ? most
                         : std::max(1, static_cast<int>(static_cast<float>(most) * kClipLeast));
  GroupFit best = {};
  double least = std::numeric_limits<double>::infinity();
  for (int multiplier = most; multiplier >= fewest; --multiplier) {
    const float step = scale * static_cast<float>(multiplier);
    const float zero = ZeroAt(extremes, step, spec, levels);
    const double error = SquaredError(slice, step, zero, levels);
    if (error >= least) continue;
    least = error;
    best = {static_cast<std::uint8_t>(multiplier), static_cast<std::uint8_t>(zero)};
  }
  return best;
}

// Of all channels, channel after channel: what a fit reads many times then lies together.
std::vector<float> Transposed(const WeightMatrix& weight) {
  std::vector<float> values(weight.values.size());
  const std::size_t depth = weight.depth();
  for (std::size_t k = 0; k < depth; ++k) {
    for (std::size_t c = 0; c < weight.channels; ++c)
      values[c * depth + k] = weight.values[k * weight.channels + c];
  }
  return values;
}

void FitGroups(std::span<const float> channel, const Wish& wish, std::size_t c, WeightGrid& grid) {
  const Levels levels = LevelsOf(grid.spec);
  const float multiplier_max = std::floor(static_cast<float>(kEngineMax) / levels.most);
  std::vector<Slice> slices;
  float whole = 0;
  for (std::size_t first = 0; first < channel.size(); first += GroupSize(grid.spec)) {
    const std::size_t count = std::min<std::size_t>(GroupSize(grid.spec), channel.size() - first);
    slices.push_back(channel.subspan(first, count));
    whole = std::max(whole, WholeStep(ExtremesOf(slices.back()), grid.spec, levels));
  }
  grid.scale[c] = std::max(whole / multiplier_max, wish.scale_min);
  for (std::size_t g = 0; g < slices.size(); ++g) {
    const GroupFit fit = FitGroup(slices[g], wish, grid.scale[c]);
    grid.multiplier[c * grid.groups + g] = fit.multiplier;
    grid.zero[c * grid.groups + g] = fit.zero;
  }
}

void FitChannel(std::span<const float> channel, const Wish& wish, std::size_t c, WeightGrid& grid) {
  const Fit fit = FitSlice(channel, wish);
  grid.scale[c] = fit.step;
  grid.zero[c] = static_cast<std::uint8_t>(fit.zero);
}

}  // namespace

std::int32_t WeightGrid::code_min() const {
  return static_cast<std::int32_t>(LevelsOf(spec).least);
}
std::int32_t WeightGrid::code_max() const {
  return static_cast<std::int32_t>(LevelsOf(spec).most);
}
std::size_t WeightGrid::GroupOf(std::size_t k, std::size_t channel) const {
  return channel * groups + (GroupSize(spec) == 0 ? 0 : k / GroupSize(spec));
}

WeightClip ClipOf(const WeightSpec& spec) {
  return spec.bits == 8 ? WeightClip::kMinMax : WeightClip::kSquaredError;
}

Result<WeightGrid> FitWeightGrid(const WeightMatrix& weight, const WeightSpec& spec,
                                 WeightClip clip, std::span<const float> scale_min) {
  FL_TRY_OK(spec.Validate());
  if (weight.channels == 0 || weight.values.empty() ||
      weight.values.size() % weight.channels != 0) {
    return Error{ErrorCode::kInvalidArgument,
                 "weight coding: expected a matrix of " + std::to_string(weight.channels) +
                     " columns, found " + std::to_string(weight.values.size()) + " values"};
  }
  FL_CHECK(scale_min.empty() || scale_min.size() == weight.channels,
           "a least scale for each channel");
  if (!AllFinite(weight.values))
    return Error{ErrorCode::kNotFinite, "weight coding: a weight is not finite"};
  WeightGrid grid;
  grid.spec = spec;
  grid.depth = weight.depth();
  grid.groups = GroupsOf(spec, grid.depth);
  grid.scale.resize(weight.channels);
  grid.multiplier.assign(weight.channels * grid.groups, 1);
  grid.zero.assign(weight.channels * grid.groups, 0);
  if (spec.scaling == WeightScaling::kTensor) {
    const float least = scale_min.empty() ? 0 : *std::ranges::max_element(scale_min);
    const Fit fit = FitSlice(weight.values, {spec, clip, std::max(least, kScaleLeast)});
    std::ranges::fill(grid.scale, fit.step);
    std::ranges::fill(grid.zero, static_cast<std::uint8_t>(fit.zero));
    return grid;
  }
  const std::vector<float> channels = Transposed(weight);
  for (std::size_t c = 0; c < weight.channels; ++c) {
    const auto channel = std::span(channels).subspan(c * grid.depth, grid.depth);
    const float least = scale_min.empty() ? 0 : scale_min[c];
    const Wish wish{spec, clip, std::max(least, kScaleLeast)};
    spec.scaling == WeightScaling::kGroup ? FitGroups(channel, wish, c, grid)
                                          : FitChannel(channel, wish, c, grid);
  }
  return grid;
}

void RoundToCodes(const WeightGrid& grid, std::span<const float> values,
                  std::span<std::int16_t> codes) {
  FL_CHECK(values.size() == grid.depth * grid.channels() && codes.size() == values.size(),
           "as many values and codes as the grid's weight has");
  const Levels levels = LevelsOf(grid.spec);
  std::vector<float> step(grid.channels());
  std::vector<float> zero(grid.channels());
  for (std::size_t k = 0; k < grid.depth; ++k) {
    if (k == 0 || (GroupSize(grid.spec) > 0 && k % GroupSize(grid.spec) == 0)) {
      for (std::size_t c = 0; c < grid.channels(); ++c) {
        const std::size_t at = grid.GroupOf(k, c);
        step[c] = grid.scale[c] * static_cast<float>(grid.multiplier[at]);
        zero[c] = static_cast<float>(grid.zero[at]);
      }
    }
    for (std::size_t c = 0; c < grid.channels(); ++c) {
      const std::size_t i = k * grid.channels() + c;
      const float at =
          std::clamp(values[i] / step[c], levels.least - zero[c], levels.most - zero[c]);
      codes[i] = static_cast<std::int16_t>(RoundEven(at) + zero[c]);
    }
  }
}

void ValuesOfCodes(const WeightGrid& grid, std::span<const std::int16_t> codes,
                   std::span<float> values) {
  FL_CHECK(values.size() == grid.depth * grid.channels() && codes.size() == values.size(),
           "as many values and codes as the grid's weight has");
  for (std::size_t k = 0; k < grid.depth; ++k) {
    for (std::size_t c = 0; c < grid.channels(); ++c) {
      const std::size_t at = grid.GroupOf(k, c);
      const int code = codes[k * grid.channels() + c];
      const int engine = int{grid.multiplier[at]} * (code - int{grid.zero[at]});
      values[k * grid.channels() + c] = grid.scale[c] * static_cast<float>(engine);
    }
  }
}

void RoundToGrid(const WeightGrid& grid, std::span<const float> values, std::span<float> rounded) {
  std::vector<std::int16_t> codes(values.size());
  RoundToCodes(grid, values, codes);
  ValuesOfCodes(grid, codes, rounded);
}

CodedWeight CodeOnGrid(const WeightGrid& grid, std::span<const float> values,
                       std::span<const float> scale_min) {
  FL_CHECK(scale_min.size() == grid.channels(), "a least scale for each channel");
  WeightGrid raised = grid;
  for (std::size_t c = 0; c < raised.channels(); ++c)
    raised.scale[c] = std::max(raised.scale[c], scale_min[c]);
  std::vector<std::int16_t> codes(values.size());
  RoundToCodes(raised, values, codes);
  CodedWeight coded;
  coded.weight_scale = raised.scale;
  coded.coding = {grid.spec.bits, GroupSize(grid.spec), grid.spec.asymmetric};
  coded.weight.resize(values.size());
  // A few channels at a time, so that what is written stays in the nearest cache.
  constexpr std::size_t kAtOnce = 64;
  for (std::size_t first = 0; first < grid.channels(); first += kAtOnce) {
    const std::size_t end = std::min(grid.channels(), first + kAtOnce);
    for (std::size_t k = 0; k < grid.depth; ++k) {
      for (std::size_t c = first; c < end; ++c) {
        const std::size_t at = grid.GroupOf(k, c);
        const int code = codes[k * grid.channels() + c] - int{grid.zero[at]};
        coded.weight[c * grid.depth + k] =
            static_cast<std::int8_t>(int{grid.multiplier[at]} * code);
      }
    }
  }
  if (grid.spec.bits < 8) coded.multiplier = grid.multiplier;
  if (grid.spec.asymmetric) coded.zero = grid.zero;
  return coded;
}

std::uint64_t WeightBits(const WeightSpec& spec, std::size_t depth, std::size_t channels) {
  const std::uint64_t bytes = spec.bits == 8 ? 0 : spec.asymmetric ? 2 : 1;
  return channels * (std::uint64_t{depth} * spec.bits + GroupsOf(spec, depth) * bytes * 8);
}

bool HasWeight(const Node& node) {
  return node.kind == OpKind::kDense || node.kind == OpKind::kConv2d ||
         node.kind == OpKind::kDepthwise;
}

WeightMatrix WeightOf(const Graph& graph, const Node& node, std::span<const float> parameters) {
  const Shape& shape = graph.parameters[node.parameters[0]].shape;
  return {parameters.subspan(graph.parameters.offset(node.parameters[0]), shape.count()),
          shape[shape.rank() - 1]};
}

}  // namespace fl::nn
