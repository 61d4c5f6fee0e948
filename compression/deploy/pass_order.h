#pragma once

#include "fl/common/base/result.h"
#include "fl/compression/deploy/pass_list.h"

namespace fl::deploy {

// The order that makes sense:
//   fold -> equalize -> prune -> low rank -> train -> mixed precision -> round -> correct biases ->
//   quantize -> verify -> pack
// After a training pass the first five may begin anew (prune, train, prune, train, ...), and those
// may stand more than once; from mixed precision on each pass stands once, and one alone
// quantizes. What puts a new model in
// the place of the old one stands first. For a device the list must quantize and then verify.
// kInvalidArgument, "LINE:COLUMN: " first, names the two passes and says why.
Result<> CheckPassOrder(const PassList& passes, PassListUse use);

}  // namespace fl::deploy
