#include "fl/server/publish/publisher.h"

#include <algorithm>
#include <utility>

#include "fl/common/tensor/half.h"

namespace fl::server {
namespace {

std::vector<float> Halved(std::vector<float> values) {
  constexpr std::uint16_t kLargest = 0x7F7F;
  const float largest = Bfloat16ToFloat(kLargest);
  for (float& value : values) {
    value = Bfloat16ToFloat(FloatToBfloat16(std::clamp(value, -largest, largest)));
  }
  return values;
}

}  // namespace

Result<Publication> Publisher::Publish(std::vector<float> wanted,
                                       std::span<const float> published) const {
  const Lattice* lattice = options_.lattice;
  if (lattice == nullptr) return Publication{Release(std::move(wanted)), std::nullopt};
  FL_TRY(const Lattice::Point from, lattice->PointOf(published));
  Lattice::Point point = lattice->Approach(from, wanted, options_.shift);
  std::vector<float> model = lattice->ModelAt(point);
  return Publication{std::move(model), std::move(point)};
}

std::vector<float> Publisher::Release(std::vector<float> wanted) const {
  const Lattice* lattice = options_.lattice;
  if (lattice == nullptr) return options_.half ? Halved(std::move(wanted)) : std::move(wanted);
  return lattice->ModelAt(lattice->Nearest(wanted, options_.shift), kReleasedFineness);
}

}  // namespace fl::server
