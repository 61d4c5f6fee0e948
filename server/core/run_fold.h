#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "fl/common/base/thread_pool.h"
#include "fl/server/core/federation_plan.h"
#include "fl/server/fold/fold.h"
#include "fl/server/storage/storage.h"

namespace fl::server {

struct EncodedChange {
  std::uint64_t from = 0;  // A version.
  Bytes bytes;
};

// Steps 9 and 10 for one round: what the core stores when it publishes. The same bits wherever and
// however often it is computed.
struct RoundResult {
  Bytes model;                    // fp32 values of the next version, in layout order.
  Digest digest;                  // Of them.
  std::optional<Bytes> released;  // Values of the released model; absent: the published one's.
  // From earlier versions; only those smaller than the model. On a lattice: from version 0, of any
  // size, since it says where the model is.
  std::vector<EncodedChange> changes;
  std::map<std::string, Bytes> tensors;  // What strategy and publisher keep.
  std::optional<Bytes> next_parameters;  // Of the next round; absent: they stay as they are.
  RoundMetrics metrics;
};

// Reads the round's journal and its base model, folds, takes the strategy's step, publishes. With a
// pool the blocks are computed in parallel; `pool` may be null. Errors are the storage's, or
// kInternal when the journal does not parse. Thread safety: any number of calls at a time; the
// storage is only read, and let go before the computing begins.
Result<RoundResult> RunFold(Storage& storage, const FederationPlan& plan, std::uint64_t round,
                            ThreadPool* pool = nullptr);

}  // namespace fl::server
