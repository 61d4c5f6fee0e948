#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fl/common/nn/graph.h"
#include "fl/common/tensor/tensor.h"
#include "fl/common/wire/messages.h"
#include "fl/compression/check_plan.h"
#include "fl/compression/lattice.h"

namespace fl::server {

enum class Combiner : std::uint8_t {
  kWeightedMean,  // Sum of weight x value over the weights of those who sent the segment.
  kSum,           // Sum of the values.
};

// One stream of an update as the server folds it.
struct StreamPlan {
  std::uint64_t id = 0;
  std::string name;
  Combiner combiner = Combiner::kWeightedMean;
  const SegmentPlan* segments = nullptr;  // Owned by the checked plan that FederationPlan holds.
};

// A checked plan and what the server derives from it. Immutable. Thread safety: shared objects
// safe.
class FederationPlan {
 public:
  static std::shared_ptr<const FederationPlan> Create(std::shared_ptr<const CheckedPlan> checked);

  const std::string& name() const { return plan().name; }
  const Plan& plan() const { return checked_->plan; }
  const CheckedPlan& checked() const { return *checked_; }
  const Digest& digest() const { return checked_->plan_digest; }  // Of the plan's text.
  const nn::Graph& graph() const { return checked_->graph; }
  const TensorLayout& layout() const { return graph().parameters; }
  // The streams of a train task, by id; [0] is the delta, [1] the metrics.
  const std::vector<StreamPlan>& streams() const { return streams_; }
  // The first 8 bytes of the delta recipe's digest, as tasks and updates carry it.
  std::uint64_t recipe() const { return streams_.front().segments->digest().prefix(); }
  // What the clients of the first round share; empty where the recipe needs nothing. Those of later
  // rounds follow from their predecessors (core/round_parameters.h).
  const RoundParameters& initial_parameters() const { return initial_parameters_; }
  // Those that a stream's payloads are parsed with, in a round whose parameters are `round`.
  const RoundParameters& ParametersOf(const StreamPlan& stream, const RoundParameters& round) const;
  // No update of a task of that kind is larger.
  std::uint64_t update_bytes_max(wire::TaskKind kind = wire::TaskKind::kTrain) const {
    return kind == wire::TaskKind::kCalibrate ? calibration_bytes_max_ : update_bytes_max_;
  }
  // Ids of the stages that a client must have.
  const std::vector<std::uint8_t>& stages() const { return stages_; }
  bool deploys() const { return !plan().deployment.passes.empty(); }
  // Where published models lie; null where they lie anywhere.
  const Lattice* lattice() const { return lattice_.get(); }
  // The parameters of version 0.
  std::vector<float> InitialModel() const;

 private:
  FederationPlan() = default;

  std::shared_ptr<const CheckedPlan> checked_;  // Shared with other users of the plan.
  std::vector<StreamPlan> streams_;
  std::uint64_t update_bytes_max_ = 0;
  std::uint64_t calibration_bytes_max_ = 0;  // 0: the plan asks for none.
  RoundParameters initial_parameters_;
  RoundParameters no_parameters_;
  std::vector<std::uint8_t> stages_;
  std::unique_ptr<const Lattice> lattice_;
};

}  // namespace fl::server
