#include "fl/server/core/lattice_changes.h"

#include <string>

#include "fl/common/crypto/sha256.h"
#include "fl/server/core/version_models.h"

namespace fl::server {
namespace {

using MaybePoint = std::optional<Lattice::Point>;

Result<MaybePoint> ReleasedPoint(Transaction& transaction, const FederationPlan& plan,
                                 const ModelRow& model) {
  FL_TRY(const std::vector<float> values, ReadModelValues(transaction, plan, model.released));
  FL_TRY(Lattice::Point point, plan.lattice()->PointOf(values, kReleasedFineness));
  return MaybePoint(std::move(point));
}

}  // namespace

Result<MaybePoint> PointOfVersion(Transaction& transaction, const FederationPlan& plan,
                                  std::uint64_t version) {
  if (version == 0) return MaybePoint(Lattice::Point(plan.layout().total(), 0));
  FL_TRY(const auto row, transaction.FindChange(plan.name(), 0, version, Edition::kPublished));
  if (!row) return MaybePoint();
  FL_TRY(const auto blob, transaction.ReadBlob(row->blob));
  if (!blob) return MaybePoint();
  Result<LatticeChange> change = DecodeLatticeChange(*blob, plan.layout());
  if (change) return MaybePoint(std::move(change->levels));
  return Error{ErrorCode::kInternal,
               "version " + std::to_string(version) + ": " + change.error().message};
}

Result<std::optional<ChangeRow>> LatticeChangeTo(Transaction& transaction,
                                                 const FederationPlan& plan, const ModelRow& model,
                                                 Edition edition, std::uint64_t from) {
  using MaybeChange = std::optional<ChangeRow>;
  FL_TRY(const auto stored, transaction.FindChange(plan.name(), from, model.version, edition));
  if (stored) return stored;
  const bool released = edition == Edition::kReleased;
  FL_TRY(const MaybePoint base, PointOfVersion(transaction, plan, from));
  if (!base) return MaybeChange();
  FL_TRY(const MaybePoint next, released ? ReleasedPoint(transaction, plan, model)
                                         : PointOfVersion(transaction, plan, model.version));
  if (!next) return MaybeChange();
  const LatticeChange change = ChangeBetween(*base, *next, released ? kReleasedFineness : 0);
  const Bytes bytes = EncodeLatticeChange(change, plan.layout());
  const ChangeRow row{plan.name(),           from,         model.version,
                      crypto::Sha256(bytes), bytes.size(), edition};
  FL_TRY_OK(transaction.PutBlob(plan.name(), row.blob, bytes));
  FL_TRY_OK(transaction.Put(row));
  return MaybeChange(row);
}

}  // namespace fl::server
