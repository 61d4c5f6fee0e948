#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "fl/common/base/bytes.h"
#include "fl/server/core/federation_plan.h"
#include "fl/server/core/server_core.h"
#include "fl/server/storage/storage.h"

namespace fl::server {

// A model as the storage keeps it (fp32 little-endian in layout order), and back.
std::vector<float> ToFloats(ByteSpan bytes);
Bytes FromFloats(std::span<const float> values);

// The values of the stored model of that digest. kInternal when the storage does not hold it, or
// with another number of values than the plan's.
Result<std::vector<float>> ReadModelValues(Transaction& transaction, const FederationPlan& plan,
                                           const Digest& digest);

// The models of one version.
struct VersionModels {
  std::uint64_t version = 0;
  std::vector<float> published;
  std::optional<std::vector<float>> released;  // Absent: the published one.
};

// kNotFound when there is no such version; else as ReadModelValues.
Result<VersionModels> ReadVersionModels(Storage& storage, const FederationPlan& plan,
                                        std::uint64_t version);

// What a model is worth on the plan's evaluation data.
struct Quality {
  double loss = 0;
  double accuracy = 0;  // In [0, 1].
};
using Measure = std::function<Result<Quality>(std::span<const float> model)>;

// Measures each model of the version once. The error is the measure's.
Result<Evaluated> EvaluateVersion(const VersionModels& models, const Measure& measure);

}  // namespace fl::server
