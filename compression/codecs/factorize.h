#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "fl/common/random/rng_stream.h"

// The linear algebra of the low-rank codec, on row-major matrices. Every sum runs in double and in
// a fixed order, also in Eigen, which is built without vectors here: the same bits everywhere for
// the same random numbers. Rows of factors are
// directions: left[k * rows + i], right[k * columns + j].
namespace fl::internal {

struct MatrixView {
  std::span<const float> values;  // rows * columns.
  std::size_t rows = 0;
  std::size_t columns = 0;
};

// An orthonormal basis, rank rows of `rows` values, of about the span of the matrix's largest left
// singular vectors: random start, then `iterations` power iterations, each followed by Gram and
// Schmidt's orthogonalization, twice. Directions that the matrix does not have are zero.
std::vector<float> LeadingLeftVectors(const MatrixView& matrix, std::size_t rank,
                                      unsigned iterations, RngStream rng);

// Turns orthonormal directions, in their span, so that each keeps more of the matrix's energy than
// the next (Rayleigh and Ritz), and gives the energy that each keeps: squares, falling.
std::vector<double> OrderByEnergy(const MatrixView& matrix, std::size_t rank,
                                  std::span<float> left);

// right = (left left^T + eps I)^-1 left matrix: the least-squares fit to the matrix, eps 1e-4 of
// the mean of the diagonal, so that dependent directions do no harm. rank rows of `columns` values.
std::vector<float> FitRight(const MatrixView& matrix, std::span<const float> left,
                            std::size_t rank);

// A step for levels -level_max to level_max of the values: of eight between half of and the whole
// of the largest magnitude over level_max, the one with the least squared error. 0 when all are
// zero.
float BestStep(std::span<const float> values, int level_max);

}  // namespace fl::internal
