#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/config/plan.h"
#include "fl/common/nn/graph.h"

namespace fl::deploy {

class Pass;

struct PassEntry {
  std::shared_ptr<const Pass> pass;  // Shared by the plan's copies; never null.
  Location location;                 // Of its name.
};

using PassList = std::vector<PassEntry>;

// What a pass list is for: what devices install must be quantized and verified; a file may be
// written without, its reader decides.
enum class PassListUse : std::uint8_t { kDevice, kFile };

// Reads [[deployment.pass]]: each pass by its row in the pass table, its keys by its own Read.
// `teacher` is the model that the first pass is given. Refuses, "LINE:COLUMN: ..." first: unknown
// passes and keys, values out of range, orders that make no sense (pass_order.h).
// kInvalidArgument or kUnsupported.
Result<PassList> ParsePassList(const DeploymentConfig& deployment, const nn::Graph& teacher,
                               PassListUse use = PassListUse::kDevice);

}  // namespace fl::deploy
