#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"

namespace fl::nn {

// How the integers of a weight are stored in fewer bits. The engine always computes with s8
// weights; a coding stands for those of the form
//   weight = multiplier[g] * (code - zero[g]),
// multiplier in [1, 127], one for each group of `group` neighbouring inputs of an output channel
// (in the engine's order: kernel row, kernel column, input channel). So all instruction sets give
// the same bits as with the weights written out, and a file holds `bits` a weight and a byte a
// group: 4 bits in groups of 32 are 4.25 bits a weight.
struct WeightCoding {
  std::uint8_t bits = 8;    // 2 to 8; 8: the weights as they are, no multipliers.
  std::size_t group = 0;    // Inputs that share a multiplier; 0: all of an output channel.
  bool asymmetric = false;  // Codes 0 .. 2^bits - 1 and a zero of that range, up to 7 bits; else
                            // codes of +-(2^(bits - 1) - 1), the zero being 0.
  friend bool operator==(const WeightCoding&, const WeightCoding&) = default;

  std::int32_t code_min() const { return asymmetric ? 0 : 1 - (1 << (bits - 1)); }
  std::int32_t code_max() const { return asymmetric ? (1 << bits) - 1 : (1 << (bits - 1)) - 1; }
  // Of an output channel with `depth` inputs.
  std::size_t groups(std::size_t depth) const;
  // Bytes of an output channel's codes in a file.
  std::size_t row_bytes(std::size_t depth) const { return (depth * bits + 7) / 8; }
};

enum class WeightScaling : std::uint8_t { kTensor, kChannel, kGroup };

// How a node's weight is to be coded; FitWeightGrid (weight_grid.h) finds its scales.
struct WeightSpec {
  std::uint8_t bits = 8;  // 2 to 8.
  WeightScaling scaling = WeightScaling::kChannel;
  std::size_t group = 32;   // For kGroup: inputs that share a multiplier, at least 2.
  bool asymmetric = false;  // 7 bits and fewer.
  friend bool operator==(const WeightSpec&, const WeightSpec&) = default;

  // kInvalidArgument names what is out of range: bits, a group below 2, groups or asymmetric codes
  // at 8 bits.
  Result<> Validate() const;
};

// A weight as integers.
struct CodedWeight {
  std::vector<std::int8_t> weight;  // Output channel first: units x inputs, channels_out x height x
                                    // width x channels_in / groups, or channels x height x width;
                                    // in [-127, 127], never -128.
  std::vector<float> weight_scale;  // One for each output channel, > 0.
  WeightCoding coding;
  std::vector<std::uint8_t> multiplier;  // Of each output channel's groups; none at 8 bits.
  std::vector<std::uint8_t> zero;        // Likewise, of asymmetric codes only.
  friend bool operator==(const CodedWeight&, const CodedWeight&) = default;
};

// What is wrong with a coding and its weights, empty when nothing is.
std::string WhyNotCoded(const CodedWeight& weight, std::size_t depth);

// Codes as a file holds them: for each output channel depth codes of `bits` bits, least significant
// bit first, counted from code_min on; the channel's last byte is filled with zero bits. The weight
// must be valid.
Bytes PackCodes(const CodedWeight& weight, std::size_t depth);

// The reverse: fills weight.weight from its coding, multipliers and zeros. kMalformed when the
// sizes do not fit, a code is out of range, a filling bit is set, or a weight leaves [-127, 127].
Result<> UnpackCodes(ByteSpan packed, std::size_t depth, CodedWeight& weight);

}  // namespace fl::nn
