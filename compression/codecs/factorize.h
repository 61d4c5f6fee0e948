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

// out[k] = the matrix times right row k: rank rows of `rows` values.
void MultiplyRight(const MatrixView& matrix, std::span<const float> right, std::size_t rank,
                   std::span<float> out);

// left row k times the matrix: rank rows of `columns` values.
std::vector<double> MultiplyLeft(const MatrixView& matrix, std::span<const float> left,
                                 std::size_t rank);

std::vector<float> ToFloats(const std::vector<double>& values);

// Makes `rank` rows orthonormal, in order, by Gram and Schmidt, twice ("twice is enough": Giraud et
// al. 2005). A row of which next to nothing is left becomes zero.
void Orthonormalize(std::span<float> rows, std::size_t rank);

// `rank` rows become columns: factors are computed one direction after the other, and a product
// takes those of a row together.
template <typename T>
std::vector<T> Transpose(std::span<const T> rows, std::size_t rank) {
  const std::size_t length = rows.size() / rank;
  std::vector<T> out(rows.size());
  for (std::size_t k = 0; k < rank; ++k) {
    for (std::size_t i = 0; i < length; ++i) out[i * rank + k] = rows[k * length + i];
  }
  return out;
}

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
