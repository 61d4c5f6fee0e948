#pragma once

#include <optional>
#include <span>
#include <vector>

#include "fl/compression/lattice.h"

namespace fl::server {

// What clients will hold, bit for bit.
struct Publication {
  std::vector<float> model;
  std::optional<Lattice::Point> point;  // Where the model is, where there is a lattice.
};

// Turns the wanted model into the published one: without a lattice that is the wanted model itself;
// with one, a point near it, reached from the published model in strides of 2^shift steps. What
// that leaves out is not lost: the next round's step starts from the wanted model. `lattice` may be
// null, else it outlives the object. Thread safety: shared objects safe.
class Publisher {
 public:
  explicit Publisher(const Lattice* lattice, unsigned shift = 0)
      : lattice_(lattice), shift_(shift) {}

  // `published` is the model that clients hold now. kMalformed when it is not on the lattice.
  Result<Publication> Publish(std::vector<float> wanted, std::span<const float> published) const;

  // The model to release for `wanted`: itself, or the nearest of the finer lattice, so that the
  // change to it is small.
  std::vector<float> Release(std::vector<float> wanted) const;

 private:
  const Lattice* lattice_;
  unsigned shift_;
};

}  // namespace fl::server
