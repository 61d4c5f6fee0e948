#include "fl/server/core/version_models.h"

#include <cstring>
#include <string>

namespace fl::server {

std::vector<float> ToFloats(ByteSpan bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

Bytes FromFloats(std::span<const float> values) {
  const ByteSpan bytes = std::as_bytes(values);
  return {bytes.begin(), bytes.end()};
}

Result<std::vector<float>> ReadModelValues(Transaction& transaction, const FederationPlan& plan,
                                           const Digest& digest) {
  FL_TRY(const auto bytes, transaction.ReadBlob(digest));
  if (!bytes || bytes->size() != plan.layout().total() * sizeof(float)) {
    return Error{ErrorCode::kInternal,
                 plan.name() + ": model " + digest.ToHex() + " is not stored whole"};
  }
  return ToFloats(*bytes);
}

Result<VersionModels> ReadVersionModels(Storage& storage, const FederationPlan& plan,
                                        std::uint64_t version) {
  FL_TRY(const auto transaction, storage.Begin(plan.name(), TransactionMode::kOptimistic));
  FL_TRY(const auto row, transaction->FindModel(plan.name(), version));
  if (!row) {
    return Error{ErrorCode::kNotFound,
                 plan.name() + ": version " + std::to_string(version) + " is not stored"};
  }
  VersionModels models;
  models.version = version;
  FL_TRY(models.published, ReadModelValues(*transaction, plan, row->digest));
  if (row->released != row->digest) {
    FL_TRY(models.released, ReadModelValues(*transaction, plan, row->released));
  }
  return models;
}

Result<Evaluated> EvaluateVersion(const VersionModels& models, const Measure& measure) {
  FL_TRY(const Quality published, measure(models.published));
  Quality released = published;
  if (models.released) {
    FL_TRY(released, measure(*models.released));
  }
  return Evaluated{models.version, released.loss, released.accuracy, published.loss,
                   published.accuracy};
}

}  // namespace fl::server
