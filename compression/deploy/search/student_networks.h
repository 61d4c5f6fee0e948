#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fl/common/nn/graph.h"

namespace fl::deploy {

// Smaller networks after a model's pattern, as BuildGraph's lines, for a search of architectures:
// all combinations of
//   widths     1, 1/2, 1/4 or 1/8 of each layer's channels and units, in whole multiples
//   depth      as it is; one more block of convolution, relu and pool before the flatten; without
//              the hidden dense layers behind the flatten; both
//   kernels    as they are; the first convolution 3x3 where it is larger, else 5x5
// that build, have the model's input and output, and fewer parameters than it. A model with
// branches is only made narrower. The same list in the same order, without twins. Thread safety:
// pure function.
std::vector<std::vector<std::string>> StudentNetworks(const nn::Graph& model,
                                                      std::uint32_t multiple);

}  // namespace fl::deploy
