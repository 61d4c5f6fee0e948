#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "fl/common/base/bytes.h"
#include "fl/common/tensor/tensor.h"
#include "fl/compression/recipe.h"

namespace fl::codec_app {

// A piece of a payload, in the order of the bytes (the lengths of joined recipes first); the sizes
// of all pieces sum to the payload's.
struct PayloadPart {
  std::string stage;  // Whose it is: "top_k", "quantize".
  std::string what;   // "places", "grid", "codes".
  std::size_t bytes = 0;
};

// How a segment's payload, which its codec has accepted, divides among the stages of its recipe, by
// the grammars of docs/wire-format.md. A stage that is not known here is one piece.
std::vector<PayloadPart> PartsOf(const Recipe& recipe, const Shape& shape, ByteSpan payload);

}  // namespace fl::codec_app
