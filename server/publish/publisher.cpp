#include "fl/server/publish/publisher.h"

#include <utility>

namespace fl::server {

Result<Publication> Publisher::Publish(std::vector<float> wanted,
                                       std::span<const float> published) const {
  if (lattice_ == nullptr) return Publication{std::move(wanted), std::nullopt};
  FL_TRY(const Lattice::Point from, lattice_->PointOf(published));
  Lattice::Point point = lattice_->Approach(from, wanted, shift_);
  std::vector<float> model = lattice_->ModelAt(point);
  return Publication{std::move(model), std::move(point)};
}

std::vector<float> Publisher::Release(std::vector<float> wanted) const {
  if (lattice_ == nullptr) return wanted;
  return lattice_->ModelAt(lattice_->Nearest(wanted, shift_), kReleasedFineness);
}

}  // namespace fl::server
