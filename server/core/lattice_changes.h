#pragma once

#include <cstdint>
#include <optional>

#include "fl/compression/lattice.h"
#include "fl/server/core/federation_plan.h"
#include "fl/server/storage/storage.h"

namespace fl::server {

// Where the published model of a version is; absent where the storage has forgotten it, which never
// happens to a version of a federation on a lattice. Errors are as below.
Result<std::optional<Lattice::Point>> PointOfVersion(Transaction& transaction,
                                                     const FederationPlan& plan,
                                                     std::uint64_t version);

// The change on the plan's lattice from a published version to a model of another, made when the
// first client asks for it and kept for all others; absent where the storage has forgotten one of
// the two. Each version's point is stored as the change from version 0. Errors are the storage's,
// or kInternal when what it holds does not parse.
Result<std::optional<ChangeRow>> LatticeChangeTo(Transaction& transaction,
                                                 const FederationPlan& plan, const ModelRow& model,
                                                 Edition edition, std::uint64_t from);

}  // namespace fl::server
