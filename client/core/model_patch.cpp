#include "fl/client/core/model_patch.h"

#include <cstring>
#include <string>

#include "fl/common/nn/initialize.h"
#include "fl/common/random/rng_stream.h"
#include "fl/common/wire/model_change.h"
#include "fl/compression/lattice.h"

namespace fl::client {

namespace {

// The start's values are made anew each time: a device has no room for a third model.
Result<std::vector<float>> ApplyOnLattice(const CheckedPlan& plan, const NamedTensors& base,
                                          ByteSpan patch) {
  const AggregationConfig& aggregation = plan.plan.aggregation;
  if (aggregation.publish != "lattice") {
    return Error{ErrorCode::kMalformed, "model change: the plan has no lattice"};
  }
  FL_TRY(const LatticeChange change, DecodeLatticeChange(patch, base.layout));
  const Lattice lattice(base.layout, InitialModel(plan).values,
                        aggregation.lattice_step.value_or(kFinestLatticeStep));
  FL_TRY(const Lattice::Point from, lattice.PointOf(base.values));
  FL_TRY(const Lattice::Point to, ApplyChange(from, change));
  return lattice.ModelAt(to, change.fineness);
}

}  // namespace

NamedTensors InitialModel(const CheckedPlan& plan) {
  return nn::InitializeParameters(plan.graph, RngStream(plan.plan.seed).Child("model"));
}

NamedTensors ChangeStart(const CheckedPlan& plan) {
  if (plan.plan.aggregation.publish != "half") return InitialModel(plan);
  return NamedTensors(plan.graph.parameters);
}

Result<NamedTensors> ApplyModelPatch(const CheckedPlan& plan, const NamedTensors& base,
                                     ByteSpan patch) {
  NamedTensors model(base.layout);
  if (IsLatticeChange(patch)) {
    FL_TRY(model.values, ApplyOnLattice(plan, base, patch));
    return model;
  }
  FL_TRY_OK(wire::ApplyModelChange(patch, base.values, model.values));
  if (!AllFinite(model.values)) {
    return Error{ErrorCode::kNotFinite, "model change: a parameter is not finite"};
  }
  return model;
}

Result<NamedTensors> ReadWholeModel(const TensorLayout& layout, ByteSpan bytes) {
  if (bytes.size() != layout.total() * sizeof(float)) {
    return Error{ErrorCode::kMalformed, "model: expected " +
                                            std::to_string(layout.total() * sizeof(float)) +
                                            " bytes, found " + std::to_string(bytes.size())};
  }
  NamedTensors model(layout);
  std::memcpy(model.values.data(), bytes.data(), bytes.size());
  if (!AllFinite(model.values)) {
    return Error{ErrorCode::kNotFinite, "model: a parameter is not finite"};
  }
  return model;
}

}  // namespace fl::client
