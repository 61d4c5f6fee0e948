#include "fl/client/privacy/clip_and_noise.h"

#include <doctest/doctest.h>

namespace fl::client {
namespace {

NamedTensors ThreeFour() {
  NamedTensors tensors(TensorLayout({{"a", Shape{1}}, {"b", Shape{1}}}));
  tensors.values = {3.0F, -4.0F};
  return tensors;
}

PrivacyConfig ClipTo(double norm) {
  PrivacyConfig privacy;
  privacy.clip_norm = norm;
  return privacy;
}

TEST_CASE("ClipAndNoise: scales a longer update to the norm as a whole") {
  NamedTensors update = ThreeFour();
  ClipAndNoise(update, ClipTo(1), RngStream(1));
  CHECK(update.values[0] == doctest::Approx(0.6));
  CHECK(update.values[1] == doctest::Approx(-0.8));
}

TEST_CASE("ClipAndNoise: leaves an update of exactly the norm or shorter") {
  for (const double norm : {5.0, 6.0}) {
    NamedTensors update = ThreeFour();
    ClipAndNoise(update, ClipTo(norm), RngStream(1));
    CHECK(update == ThreeFour());
  }
}

TEST_CASE("ClipAndNoise: does nothing without a norm") {
  NamedTensors update = ThreeFour();
  ClipAndNoise(update, ClipTo(0), RngStream(1));
  CHECK(update == ThreeFour());
}

TEST_CASE("ClipAndNoise: leaves zero alone") {
  NamedTensors update(TensorLayout({{"a", Shape{4}}}));
  ClipAndNoise(update, ClipTo(1), RngStream(1));
  CHECK(NormL2(update.values) == 0);
}

}  // namespace
}  // namespace fl::client
