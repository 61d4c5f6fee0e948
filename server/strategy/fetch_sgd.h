#pragma once

#include "fl/server/strategy/strategy.h"

namespace fl::server {

struct FetchSgdConfig {
  double server_step = 1.0;  // Factor on the momentum, > 0.
  double momentum = 0.9;     // In [0, 1).
  double keep = 0;  // Coordinates that a step changes, of those that are sketched: below 1 a share
                    // of them, from 1 on how many; 0: an eighth of the columns of all sketches.
};

// FetchSGD (Rothchild et al. 2020, arXiv:2007.07682): for clients that appear once and keep
// nothing. Momentum and error live in the domain of the sketches, which is linear:
//
//   u = momentum * u + s                  s: the mean of the round's tables
//   e = e + server_step * u
//   step = the largest of what e tells    over all sketched segments together; of equal magnitudes
//                                         the lower coordinates
//   e = e - sketch(step); wanted = model + step
//
// What e holds and a step leaves out comes with later steps. A step of more coordinates than the
// tables can tell apart (from about half of their columns on) applies noise, and training diverges.
// Momentum makes a steady change 1 / (1 - momentum) times as large, so that server_step is usually
// that much smaller than FedAvg's. Segments with other recipes have momentum and are applied as a
// whole: wanted = model + server_step * u. State: "momentum/SEGMENT" and, where it is sketched,
// "error/SEGMENT", of cells or values. One thread computes it; the same bits everywhere.
class FetchSgd final : public Strategy {
 public:
  // `segments`: those of the aggregate; outlives this.
  FetchSgd(const FetchSgdConfig& config, const SegmentPlan& segments)
      : config_(config), segments_(segments) {}
  std::vector<float> Step(std::span<const float> model, const StreamAggregate& delta,
                          StateTensors& state) const override;

 private:
  FetchSgdConfig config_;
  const SegmentPlan& segments_;
};

}  // namespace fl::server
