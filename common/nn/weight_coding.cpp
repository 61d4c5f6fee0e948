#include "fl/common/nn/weight_coding.h"

#include <algorithm>
#include <cmath>
#include <optional>

namespace fl::nn {
namespace {

constexpr std::int32_t kWeightMax = 127;
constexpr float kScaleMin = 1e-20F;  // Of a channel without weights.

std::int32_t RoundTo(float value, std::int32_t low, std::int32_t high) {
  const float rounded = std::nearbyint(value);
  return static_cast<std::int32_t>(
      std::clamp(rounded, static_cast<float>(low), static_cast<float>(high)));
}

// A multiplier, its zero, and how far the rounded group is from what it was.
struct Candidate {
  std::int32_t multiplier = 1;
  std::int32_t zero = 0;
  double error = 0;
};

// One group of one channel, in units of the channel's scale.
class GroupCoder {
 public:
  GroupCoder(std::span<const float> values, float scale, const WeightCoding& coding)
      : values_(values), scale_(scale), coding_(coding) {
    for (const float value : values) {
      low_ = std::min(low_, value);
      high_ = std::max(high_, value);
    }
  }

  // The one with the least error; of equal ones the smallest.
  Candidate Best() const {
    const float steps = static_cast<float>(coding_.code_max() - coding_.code_min());
    const float widest = coding_.asymmetric ? high_ - low_ : 2 * std::max(high_, -low_);
    const std::int32_t full = RoundTo(std::ceil(widest / steps / scale_), 1, kWeightMax);
    Candidate best;
    bool found = false;
    // Clipping to a quarter of the range never pays.
    for (std::int32_t multiplier = std::max(1, full / 4); multiplier <= full; ++multiplier) {
      Candidate one = With(multiplier);
      if (!Fits(one)) continue;
      one.error = ErrorOf(one);
      if (found && one.error >= best.error) continue;
      best = one;
      found = true;
    }
    return found ? best : With(1);
  }

  Candidate With(std::int32_t multiplier) const {
    if (!coding_.asymmetric) return {multiplier, 0, 0};
    const float zero = -low_ / (scale_ * static_cast<float>(multiplier));
    return {multiplier, RoundTo(zero, 0, coding_.code_max()), 0};
  }

  std::int32_t Code(const Candidate& with, float value) const {
    const float step = scale_ * static_cast<float>(with.multiplier);
    return RoundTo(std::nearbyint(value / step) + static_cast<float>(with.zero), coding_.code_min(),
                   coding_.code_max());
  }

 private:
  bool Fits(const Candidate& with) const {
    const std::int32_t farthest =
        std::max(coding_.code_max() - with.zero, with.zero - coding_.code_min());
    return with.multiplier * farthest <= kWeightMax;
  }

  double ErrorOf(const Candidate& with) const {
    const float step = scale_ * static_cast<float>(with.multiplier);
    double error = 0;
    for (const float value : values_) {
      const float difference = step * static_cast<float>(Code(with, value) - with.zero) - value;
      error += static_cast<double>(difference) * static_cast<double>(difference);
    }
    return error;
  }

  std::span<const float> values_;
  float scale_;
  WeightCoding coding_;
  float low_ = 0;
  float high_ = 0;
};

float Largest(std::span<const float> values) {
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

// The smallest scale with which a group's codes, times the largest multiplier that its zero allows,
// reach all of its values.
float ScaleOfGroup(std::span<const float> values, const WeightCoding& coding) {
  if (!coding.asymmetric) {
    const std::int32_t most = kWeightMax / coding.code_max();
    return Largest(values) / static_cast<float>(coding.code_max() * most);
  }
  const float low = std::min(*std::ranges::min_element(values), 0.0F);
  const float high = std::max(*std::ranges::max_element(values), 0.0F);
  const float step = std::max(high - low, kScaleMin) / static_cast<float>(coding.code_max());
  const std::int32_t zero = RoundTo(-low / step, 0, coding.code_max());
  const std::int32_t farthest = std::max(zero, coding.code_max() - zero);
  const std::int32_t most = kWeightMax / farthest;
  return step / static_cast<float>(most);
}

float ScaleOfGroups(std::span<const float> values, const WeightCoding& coding) {
  const std::size_t group = coding.group == 0 ? values.size() : coding.group;
  float scale = 0;
  for (std::size_t at = 0; at < values.size(); at += group) {
    const auto part = values.subspan(at, std::min(group, values.size() - at));
    scale = std::max(scale, ScaleOfGroup(part, coding));
  }
  return scale;
}

// Where groups have no multiplier to choose: codes as they are.
void RoundPlain(std::span<const float> values, float scale, CodedWeight& to) {
  for (const float value : values) {
    to.weight.push_back(static_cast<std::int8_t>(RoundTo(value / scale, -kWeightMax, kWeightMax)));
  }
}

// `of_tensor`: the multiplier of all groups, where they share one.
void RoundGroups(std::span<const float> values, float scale,
                 const std::optional<Candidate>& of_tensor, CodedWeight& to) {
  const std::size_t group = to.coding.group == 0 ? values.size() : to.coding.group;
  for (std::size_t at = 0; at < values.size(); at += group) {
    const auto part = values.subspan(at, std::min(group, values.size() - at));
    const GroupCoder coder(part, scale, to.coding);
    const Candidate chosen = of_tensor ? *of_tensor : coder.Best();
    to.multiplier.push_back(static_cast<std::uint8_t>(chosen.multiplier));
    if (to.coding.asymmetric) to.zero.push_back(static_cast<std::uint8_t>(chosen.zero));
    for (const float value : part) {
      const std::int32_t code = coder.Code(chosen, value);
      to.weight.push_back(static_cast<std::int8_t>(chosen.multiplier * (code - chosen.zero)));
    }
  }
}

std::int32_t ZeroOf(const CodedWeight& weight, std::size_t group) {
  return weight.coding.asymmetric ? weight.zero[group] : 0;
}

// Sizes and ranges of a coding; the weights themselves are not looked at.
std::string WhyNoCoding(const CodedWeight& weight, std::size_t channels, std::size_t depth) {
  const WeightCoding& coding = weight.coding;
  if (coding.bits < 2 || coding.bits > 8) return "expected 2 to 8 bits a weight";
  if (coding.bits == 8) {
    const bool plain = coding.group == 0 && !coding.asymmetric;
    if (plain && weight.multiplier.empty() && weight.zero.empty()) return {};
    return "expected no multipliers at 8 bits a weight";
  }
  const std::size_t groups = channels * coding.groups(depth);
  if (weight.multiplier.size() != groups ||
      weight.zero.size() != (coding.asymmetric ? groups : 0)) {
    return "expected a multiplier, and of asymmetric codes a zero, for each group";
  }
  for (std::size_t g = 0; g < groups; ++g) {
    if (weight.multiplier[g] < 1 || weight.multiplier[g] > kWeightMax)
      return "expected multipliers in [1, 127]";
    if (ZeroOf(weight, g) > coding.code_max()) return "expected zeros in the codes' range";
  }
  return {};
}

}  // namespace

std::size_t WeightCoding::groups(std::size_t depth) const {
  return group == 0 || depth == 0 ? 1 : (depth + group - 1) / group;
}

Result<> WeightSpec::Validate() const {
  const auto invalid = [](const std::string& what) {
    return Error{ErrorCode::kInvalidArgument, "weights: expected " + what};
  };
  if (bits < 2 || bits > 8) return invalid("2 to 8 bits, found " + std::to_string(bits));
  if (scaling == WeightScaling::kGroup && bits == 8)
    return invalid("groups at 7 bits or fewer; 8 bits have no room for a multiplier");
  if (scaling == WeightScaling::kGroup && group < 2)
    return invalid("groups of at least 2 inputs, found " + std::to_string(group));
  if (asymmetric && bits == 8) return invalid("asymmetric codes at 7 bits or fewer");
  if (asymmetric && scaling == WeightScaling::kTensor)
    return invalid("asymmetric codes by channel or group");
  return {};
}

CodedWeight CodeWeight(std::span<const float> weight, std::span<const float> scale_min,
                       const WeightSpec& spec) {
  const std::size_t channels = scale_min.size();
  const std::size_t depth = weight.size() / channels;
  CodedWeight to;
  to.coding = {spec.bits, spec.scaling == WeightScaling::kGroup ? spec.group : 0, spec.asymmetric};
  const bool whole = spec.scaling == WeightScaling::kTensor;
  const float of_tensor =
      std::max({ScaleOfGroups(weight, {to.coding.bits, 0, false}), Largest(scale_min), kScaleMin});
  std::optional<Candidate> shared;
  if (whole && spec.bits < 8) shared = GroupCoder(weight, of_tensor, to.coding).Best();
  for (std::size_t c = 0; c < channels; ++c) {
    const auto row = weight.subspan(c * depth, depth);
    const float of_channel = std::max({ScaleOfGroups(row, to.coding), scale_min[c], kScaleMin});
    to.weight_scale.push_back(whole ? of_tensor : of_channel);
    if (spec.bits == 8) {
      RoundPlain(row, to.weight_scale.back(), to);
    } else {
      RoundGroups(row, to.weight_scale.back(), shared, to);
    }
  }
  return to;
}

std::string WhyNotCoded(const CodedWeight& weight, std::size_t depth) {
  const std::size_t channels = weight.weight_scale.size();
  std::string why = WhyNoCoding(weight, channels, depth);
  if (!why.empty() || weight.coding.bits == 8) return why;
  const WeightCoding& coding = weight.coding;
  const std::size_t groups = coding.groups(depth);
  const std::size_t size = coding.group == 0 ? depth : coding.group;
  for (std::size_t i = 0; i < weight.weight.size(); ++i) {
    const std::size_t g = i / depth * groups + i % depth / size;
    const std::int32_t multiplier = weight.multiplier[g];
    const std::int32_t code = weight.weight[i] / multiplier + ZeroOf(weight, g);
    if (weight.weight[i] % multiplier != 0 || code < coding.code_min() || code > coding.code_max())
      return "expected weights of multiplier * (code - zero) with codes of " +
             std::to_string(coding.bits) + " bits";
  }
  return {};
}

Bytes PackCodes(const CodedWeight& weight, std::size_t depth) {
  const WeightCoding& coding = weight.coding;
  const std::size_t row_bytes = coding.row_bytes(depth);
  const std::size_t size = coding.group == 0 ? depth : coding.group;
  Bytes packed(weight.weight_scale.size() * row_bytes);
  for (std::size_t i = 0; i < weight.weight.size(); ++i) {
    const std::size_t channel = i / depth;
    const std::size_t k = i % depth;
    const std::size_t g = channel * coding.groups(depth) + k / size;
    const std::int32_t code =
        weight.weight[i] / weight.multiplier[g] + ZeroOf(weight, g) - coding.code_min();
    const std::size_t bit = k * coding.bits;
    const std::uint32_t shifted = static_cast<std::uint32_t>(code) << (bit % 8);
    std::byte* to = packed.data() + channel * row_bytes + bit / 8;
    to[0] |= static_cast<std::byte>(shifted & 0xFF);
    if (bit % 8 + coding.bits > 8) to[1] |= static_cast<std::byte>(shifted >> 8);
  }
  return packed;
}

Result<> UnpackCodes(ByteSpan packed, std::size_t depth, CodedWeight& weight) {
  const auto malformed = [](std::string what) {
    return Error{ErrorCode::kMalformed, "packed weights: " + std::move(what)};
  };
  const WeightCoding& coding = weight.coding;
  const std::size_t channels = weight.weight_scale.size();
  const std::size_t row_bytes = coding.row_bytes(depth);
  if (std::string why = WhyNoCoding(weight, channels, depth); !why.empty())
    return malformed(std::move(why));
  if (packed.size() != channels * row_bytes) return malformed("expected whole rows of codes");
  const std::size_t size = coding.group == 0 ? depth : coding.group;
  const std::size_t filling = row_bytes * 8 - depth * coding.bits;
  weight.weight.resize(channels * depth);
  for (std::size_t channel = 0; channel < channels; ++channel) {
    const std::byte* row = packed.data() + channel * row_bytes;
    for (std::size_t k = 0; k < depth; ++k) {
      const std::size_t bit = k * coding.bits;
      std::uint32_t word = std::to_integer<std::uint32_t>(row[bit / 8]);
      if (bit % 8 + coding.bits > 8) word |= std::to_integer<std::uint32_t>(row[bit / 8 + 1]) << 8;
      const std::uint32_t mask = (1U << coding.bits) - 1;
      const std::int32_t code =
          static_cast<std::int32_t>(word >> (bit % 8) & mask) + coding.code_min();
      const std::size_t g = channel * coding.groups(depth) + k / size;
      const std::int32_t value = weight.multiplier[g] * (code - ZeroOf(weight, g));
      if (code > coding.code_max()) return malformed("a code is out of range");
      if (value < -kWeightMax || value > kWeightMax)
        return malformed("a weight is not in [-127, 127]");
      weight.weight[channel * depth + k] = static_cast<std::int8_t>(value);
    }
    if (std::to_integer<std::uint32_t>(row[row_bytes - 1]) >> (8 - filling) != 0 && filling != 0)
      return malformed("expected zero bits behind a row's last code");
  }
  return {};
}

}  // namespace fl::nn
