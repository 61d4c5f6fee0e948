#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fl/common/base/result.h"

namespace fl {

// One layer within a model, one sample on one thread; "relu" alone is a model of its own, the way
// into the engine and out of it.
struct OperatorTime {
  std::string layer;  // As in a plan's [model]: "conv 16 3x3 same".
  std::vector<std::size_t> input;
  double multiply_accumulates = 0;
  double fp32_us = 0;  // Median, > 0.
  double int8_us = 0;  // 0: not in this type.
};

// What a device can do, measured on it by `fl-model probe`, so that a model can be made for it on
// another machine.
struct HardwareProfile {
  std::string instruction_set;          // Of the fp32 kernels: "x86-64-v3".
  std::string integer_instruction_set;  // "avx2".
  std::vector<std::string> types = {"fp32", "int8"};
  std::vector<std::size_t> cache_bytes;  // Of data: level 1, 2, ...; may be empty.
  std::uint32_t channel_multiple = 8;    // Channels that the kernels take at once, in [1, 1024].
  double fp32_gflops = 0;                // Multiplications and additions, > 0.
  double int8_gops = 0;                  // The same in integers, > 0.
  double memory_gbps = 0;                // Read from main memory, > 0.
  std::vector<OperatorTime> operators;   // At least one.
};

// Whether the device computes in this type ("fp32", "int8").
bool HasType(const HardwareProfile& profile, std::string_view type);

// As TOML, and back. Errors are kInvalidArgument or kMalformed and begin "NAME:LINE:COLUMN: ".
std::string ProfileToToml(const HardwareProfile& profile);
Result<HardwareProfile> ParseProfile(std::string_view text, std::string_view name);
Result<HardwareProfile> LoadProfile(const std::string& path);

}  // namespace fl
