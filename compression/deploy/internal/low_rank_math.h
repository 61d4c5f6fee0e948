#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include <Eigen/Core>

#include "fl/common/random/rng_stream.h"

// The linear algebra of LayerFactorizer, in double.
namespace fl::deploy::internal {

using Matrix = Eigen::MatrixXd;
using Vector = Eigen::VectorXd;

inline Eigen::Index At(std::size_t index) {
  return static_cast<Eigen::Index>(index);
}

// Eigenvalues, falling, none below zero, and their vectors as columns, of a symmetric matrix.
struct Spectrum {
  Vector values;
  Matrix vectors;
};
Spectrum SpectrumOf(const Matrix& symmetric);

// How much a difference of weights matters to a layer's outputs: |X P|^2 + ridge |P|^2 with X the
// centred inputs, over the square root of their number. Without inputs |P|^2.
class Weighting {
 public:
  // `values`: any number of rows of `width` values, finite.
  Weighting(std::span<const float> values, std::size_t width);

  // P^T (X^T X + ridge I) Q.
  Matrix Product(const Matrix& p, const Matrix& q) const;
  double Energy(const Matrix& p) const;
  bool has_inputs() const { return centred_.rows() > 0; }
  // The mean row; zero without inputs.
  const Vector& mean() const { return mean_; }

 private:
  Matrix centred_;
  Vector mean_;
  double ridge_ = 1;
};

// The B of least weighted energy of target - basis B. Dependent columns of the basis do no harm.
Matrix FitLast(const Weighting& weighting, const Matrix& basis, const Matrix& target);

// A kernel as places (height x width) slices of inputs x outputs.
using Slices = std::vector<Matrix>;

struct TuckerFactors {
  Matrix in;    // inputs x ranks.in, orthonormal.
  Matrix out;   // outputs x ranks.out, orthonormal.
  Slices core;  // in x out for each place.
};
// HOSVD, then `sweeps` of HOOI.
TuckerFactors DecomposeTucker(const Slices& slices, Eigen::Index rank_in, Eigen::Index rank_out,
                              unsigned sweeps);
// The spectra of the two unfoldings' Gram matrices: of the inputs' and of the outputs' mode.
std::array<Spectrum, 2> ModeSpectra(const Slices& slices);

// A tensor, row-major, of three axes or more as a sum of `rank` products of one vector an axis:
// factors[k] is extents[k] x rank; all but the last have columns of length 1. Alternating least
// squares from a random start, until a sweep gains less than 1e-5 of the energy, 60 sweeps at most.
std::vector<Matrix> DecomposeCanonical(std::span<const double> values,
                                       std::span<const std::size_t> extents, Eigen::Index rank,
                                       RngStream rng);

}  // namespace fl::deploy::internal
