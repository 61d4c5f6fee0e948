#include "fl/common/nn/weight_coding.h"

namespace fl::nn {
namespace {

constexpr std::int32_t kWeightMax = 127;

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
  return {};
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
