#pragma once

#include <map>
#include <string>

#include "fl/common/nn/operator.h"

namespace fl::nn::internal {

// How many layers of each kind there are so far.
using NameCounts = std::map<OpKind, std::size_t>;

// "conv1", "conv2", ...: what the next layer of a kind is called where its line gives no name.
inline std::string AutomaticName(OpKind kind, NameCounts& counts) {
  return std::string(RulesOf(kind).name) + std::to_string(++counts[kind]);
}

}  // namespace fl::nn::internal
