#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/nn/instruction_set.h"

namespace fl::nn::internal {

// kInvalidArgument unless this processor has the instruction set.
template <typename Set>
Result<> ExpectSupported(Set set, const std::vector<Set>& supported) {
  if (std::ranges::find(supported, set) != supported.end()) return {};
  return Error{ErrorCode::kInvalidArgument,
               "instruction set: expected one that this processor has, found " +
                   std::string(InstructionSetName(set))};
}

// kInvalidArgument unless batch_max is in [1, 2^24].
inline Result<> ExpectBatchMax(std::size_t batch_max) {
  if (batch_max >= 1 && batch_max <= (std::size_t{1} << 24)) return {};
  return Error{ErrorCode::kInvalidArgument,
               "batch_max: expected 1 to 2^24, found " + std::to_string(batch_max)};
}

}  // namespace fl::nn::internal
