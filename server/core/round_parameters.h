#pragma once

#include <cstdint>

#include "fl/compression/codec.h"
#include "fl/server/core/federation_plan.h"
#include "fl/server/storage/storage.h"

// What the clients of each round share. A round's row names the blob; where it names none, they are
// those that the recipe alone gives. They are settled when a round opens and stay as they are for
// all its tasks, however late the updates come.
namespace fl::server {

// Of that round. kInternal when the storage has lost the round or its blob.
Result<RoundParameters> ReadRoundParameters(Transaction& transaction, const FederationPlan& plan,
                                            std::uint64_t round);

// Those that an update of the task is made with: its round's, and the recipe's own for a task that
// sends no model update. Errors as above.
Result<RoundParameters> ReadTaskParameters(Transaction& transaction, const FederationPlan& plan,
                                           const TaskRow& task);

// Deletes the blob of the round that `opening` makes too old for any update to count, unless a
// round that is not too old shares it. Called once for each round.
Result<> DropOldParameters(Transaction& transaction, const FederationPlan& plan,
                           const RoundRow& opening);

}  // namespace fl::server
