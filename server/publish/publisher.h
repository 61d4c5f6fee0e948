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

// Where published models lie: anywhere, at values of bf16, or on a lattice.
struct PublisherOptions {
  const Lattice* lattice = nullptr;  // Outlives the publisher.
  unsigned shift = 0;                // With a lattice: strides are of 2^shift steps.
  bool half = false;                 // Without one: each value is one of bf16.
};

// Turns the wanted model into the published one: the wanted model itself, or its values rounded to
// the nearest finite ones of bf16, or with a lattice a point near it, reached from the published
// model. What that leaves out is not lost: the next round's step starts from the wanted model.
// Thread safety: shared objects safe.
class Publisher {
 public:
  explicit Publisher(PublisherOptions options) : options_(options) {}

  // `published` is the model that clients hold now. kMalformed when it is not on the lattice.
  Result<Publication> Publish(std::vector<float> wanted, std::span<const float> published) const;

  // The model to release for `wanted`: itself, or rounded to bf16, or the nearest of the finer
  // lattice, so that the change to it is small.
  std::vector<float> Release(std::vector<float> wanted) const;

 private:
  PublisherOptions options_;
};

}  // namespace fl::server
