#include "fl/compression/deploy/variational_rank.h"

#include <algorithm>
#include <vector>

#include <Eigen/SVD>
#include <doctest/doctest.h>

#include "fl/common/random/rng_stream.h"

namespace fl::deploy {
namespace {

Eigen::MatrixXd RandomMatrix(Eigen::Index rows, Eigen::Index columns, RngStream rng) {
  Eigen::MatrixXd matrix(rows, columns);
  for (Eigen::Index i = 0; i < rows; ++i) {
    for (Eigen::Index k = 0; k < columns; ++k) matrix(i, k) = static_cast<double>(rng.Normal());
  }
  return matrix;
}

std::size_t RankOf(const Eigen::MatrixXd& matrix) {
  const Eigen::BDCSVD<Eigen::MatrixXd> svd(matrix);
  const std::vector<double> values(svd.singularValues().begin(), svd.singularValues().end());
  return VariationalRank(values, static_cast<std::size_t>(matrix.rows()),
                         static_cast<std::size_t>(matrix.cols()));
}

TEST_CASE("VariationalRank: finds the planted rank of a noisy matrix, whichever way it lies") {
  for (const Eigen::Index rank : {1, 4, 9}) {
    for (const double noise : {0.1, 0.5}) {
      const RngStream rng = RngStream(3).Child("rank", static_cast<std::uint64_t>(rank));
      const Eigen::MatrixXd matrix =
          RandomMatrix(120, rank, rng.Child("left")) * RandomMatrix(rank, 48, rng.Child("right")) +
          noise * RandomMatrix(120, 48, rng.Child("noise"));
      CHECK(RankOf(matrix) == static_cast<std::size_t>(rank));
      CHECK(RankOf(matrix.transpose()) == static_cast<std::size_t>(rank));
      CHECK(RankOf(1e-4 * matrix) == static_cast<std::size_t>(rank));
    }
  }
}

TEST_CASE("VariationalRank: finds nothing in noise and in zeros") {
  CHECK(RankOf(RandomMatrix(120, 48, RngStream(4))) == 0);
  CHECK(RankOf(Eigen::MatrixXd::Zero(12, 8)) == 0);
}

TEST_CASE("VariationalRank: the rank of a matrix without noise") {
  CHECK(RankOf(RandomMatrix(40, 3, RngStream(5)) * RandomMatrix(3, 30, RngStream(6))) == 3);
}

TEST_CASE("VariationalRank: the order of the singular values does not matter") {
  std::vector<double> values = {9, 0.11, 0.1, 0.09, 8, 0.1, 0.12, 0.1};
  const std::size_t rank = VariationalRank(values, 8, 100);
  std::ranges::reverse(values);
  CHECK(rank == 2);
  CHECK(VariationalRank(values, 100, 8) == 2);
}

}  // namespace
}  // namespace fl::deploy
