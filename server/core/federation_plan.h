#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fl/common/nn/graph.h"
#include "fl/common/tensor/tensor.h"
#include "fl/compression/check_plan.h"

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

// Bytes below which no update of the plan can lie beyond its payloads: header, directory, trailer.
inline constexpr std::uint64_t kEnvelopeBytesMax = 64U << 10;

// A checked plan and what the server derives from it. Immutable. Thread safety: shared objects
// safe.
class FederationPlan {
 public:
  static std::shared_ptr<const FederationPlan> Create(std::shared_ptr<const CheckedPlan> checked);

  const std::string& name() const { return plan().name; }
  const Plan& plan() const;
  const CheckedPlan& checked() const { return *checked_; }
  const Digest& digest() const { return digest_; }  // SHA-256 of the plan's text.
  const nn::Graph& graph() const;
  const TensorLayout& layout() const { return graph().parameters; }
  // The streams of a train task, by id; [0] is the delta, [1] the metrics.
  const std::vector<StreamPlan>& streams() const { return streams_; }
  // The first 8 bytes of the delta recipe's digest, as tasks and updates carry it.
  std::uint64_t recipe() const { return streams_.front().segments->digest().prefix(); }
  std::uint64_t update_bytes_max() const { return update_bytes_max_; }
  bool deploys() const { return !plan().deployment.passes.empty(); }
  // The parameters of version 0.
  std::vector<float> InitialModel() const;

 private:
  FederationPlan() = default;

  std::shared_ptr<const CheckedPlan> checked_;  // Shared with other users of the plan.
  Digest digest_;
  std::vector<StreamPlan> streams_;
  std::uint64_t update_bytes_max_ = 0;
};

}  // namespace fl::server
