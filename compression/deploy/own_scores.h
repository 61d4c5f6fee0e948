#pragma once

#include <map>
#include <string>
#include <vector>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"

namespace fl::deploy {

// Scores by layer: one for each channel, or for each weight.
using OwnScores = std::map<std::string, std::vector<double>>;

// Reads scores: a safetensors file with a tensor for each layer, or lines "conv1 0.3 0.25 ...".
// kMalformed, kNotFinite, kLimitExceeded (2^24 bytes), and what ParseSafetensors says.
Result<OwnScores> ParseScores(ByteSpan bytes);

}  // namespace fl::deploy
