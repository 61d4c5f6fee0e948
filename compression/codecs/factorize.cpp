#include "fl/compression/codecs/factorize.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>

namespace fl::internal {
namespace {

constexpr std::size_t kLanes = 8;  // Partial sums of a dot product, added up in order at the end.

double Dot(std::span<const float> a, std::span<const float> b) {
  std::array<double, kLanes> sums{};
  std::size_t i = 0;
  for (; i + kLanes <= a.size(); i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      sums[lane] += static_cast<double>(a[i + lane]) * static_cast<double>(b[i + lane]);
    }
  }
  for (std::size_t lane = 0; i < a.size(); ++i, ++lane)
    sums[lane] += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  double sum = 0;
  for (const double part : sums) sum += part;
  return sum;
}

// The products of the rows with each other, size x size.
Eigen::MatrixXd Gram(std::span<const float> rows, std::size_t size) {
  const std::size_t length = rows.size() / size;
  const auto extent = static_cast<Eigen::Index>(size);
  Eigen::MatrixXd gram(extent, extent);
  for (std::size_t i = 0; i < size; ++i) {
    for (std::size_t k = 0; k <= i; ++k) {
      const double product =
          Dot(rows.subspan(i * length, length), rows.subspan(k * length, length));
      gram(static_cast<Eigen::Index>(i), static_cast<Eigen::Index>(k)) = product;
      gram(static_cast<Eigen::Index>(k), static_cast<Eigen::Index>(i)) = product;
    }
  }
  return gram;
}

}  // namespace

void MultiplyRight(const MatrixView& matrix, std::span<const float> right, std::size_t rank,
                   std::span<float> out) {
  for (std::size_t i = 0; i < matrix.rows; ++i) {
    const auto row = matrix.values.subspan(i * matrix.columns, matrix.columns);
    for (std::size_t k = 0; k < rank; ++k) {
      out[k * matrix.rows + i] =
          static_cast<float>(Dot(row, right.subspan(k * matrix.columns, matrix.columns)));
    }
  }
}

// Rows are added one after the other.
std::vector<double> MultiplyLeft(const MatrixView& matrix, std::span<const float> left,
                                 std::size_t rank) {
  std::vector<double> out(rank * matrix.columns);
  for (std::size_t i = 0; i < matrix.rows; ++i) {
    const auto row = matrix.values.subspan(i * matrix.columns, matrix.columns);
    for (std::size_t k = 0; k < rank; ++k) {
      const auto factor = static_cast<double>(left[k * matrix.rows + i]);
      if (factor == 0) continue;
      const std::span<double> sum = std::span(out).subspan(k * matrix.columns, matrix.columns);
      for (std::size_t j = 0; j < sum.size(); ++j) sum[j] += factor * static_cast<double>(row[j]);
    }
  }
  return out;
}

std::vector<float> ToFloats(const std::vector<double>& values) {
  std::vector<float> floats(values.size());
  std::ranges::transform(values, floats.begin(),
                         [](double value) { return static_cast<float>(value); });
  return floats;
}

void Orthonormalize(std::span<float> rows, std::size_t rank) {
  const std::size_t length = rows.size() / rank;
  for (std::size_t k = 0; k < rank; ++k) {
    const auto row = rows.subspan(k * length, length);
    const double before = std::sqrt(Dot(row, row));
    for (int pass = 0; pass < 2; ++pass) {
      for (std::size_t other = 0; other < k; ++other) {
        const auto basis = rows.subspan(other * length, length);
        const double share = Dot(row, basis);
        for (std::size_t i = 0; i < length; ++i) {
          row[i] = static_cast<float>(static_cast<double>(row[i]) -
                                      share * static_cast<double>(basis[i]));
        }
      }
    }
    const double norm = std::sqrt(Dot(row, row));
    const double factor = norm > 1e-6 * before && norm > 0 ? 1.0 / norm : 0.0;
    for (float& value : row) value = static_cast<float>(factor * static_cast<double>(value));
  }
}

std::vector<double> OrderByEnergy(const MatrixView& matrix, std::size_t rank,
                                  std::span<float> left) {
  const std::vector<float> right = ToFloats(MultiplyLeft(matrix, left, rank));
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(Gram(right, rank));
  std::vector<double> energies(rank);
  std::vector<float> turned(left.size());
  for (std::size_t k = 0; k < rank; ++k) {
    const auto at = static_cast<Eigen::Index>(rank - 1 - k);  // Eigenvalues rise.
    energies[k] = std::max(solver.eigenvalues()[at], 0.0);
    for (std::size_t i = 0; i < matrix.rows; ++i) {
      double sum = 0;
      for (std::size_t m = 0; m < rank; ++m) {
        sum += solver.eigenvectors()(static_cast<Eigen::Index>(m), at) *
               static_cast<double>(left[m * matrix.rows + i]);
      }
      turned[k * matrix.rows + i] = static_cast<float>(sum);
    }
  }
  std::ranges::copy(turned, left.begin());
  return energies;
}

std::vector<float> LeadingLeftVectors(const MatrixView& matrix, std::size_t rank,
                                      unsigned iterations, RngStream rng) {
  std::vector<float> right(rank * matrix.columns);
  for (float& value : right) value = rng.Normal();
  std::vector<float> left(rank * matrix.rows);
  for (unsigned i = 0; i <= iterations; ++i) {
    if (i > 0) right = ToFloats(MultiplyLeft(matrix, left, rank));
    MultiplyRight(matrix, right, rank, left);
    Orthonormalize(left, rank);
  }
  return left;
}

std::vector<float> FitRight(const MatrixView& matrix, std::span<const float> left,
                            std::size_t rank) {
  using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  std::vector<double> product = MultiplyLeft(matrix, left, rank);
  Eigen::MatrixXd gram = Gram(left, rank);
  const double trace = gram.trace();
  gram.diagonal().array() += trace > 0 ? 1e-4 * trace / static_cast<double>(rank) : 1.0;
  Eigen::Map<RowMajor> right(product.data(), static_cast<Eigen::Index>(rank),
                             static_cast<Eigen::Index>(matrix.columns));
  right = gram.llt().solve(right).eval();
  return ToFloats(product);
}

float BestStep(std::span<const float> values, int level_max) {
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::fabs(value));
  constexpr int kCandidates = 8;
  const auto limit = static_cast<float>(level_max);
  float best = 0;
  double best_error = INFINITY;
  for (int candidate = 0; candidate < kCandidates && largest > 0; ++candidate) {
    const float step = largest / limit * (1.0F - 0.0625F * static_cast<float>(candidate));
    double error = 0;
    for (const float value : values) {
      const float level = std::clamp(std::nearbyint(value / step), -limit, limit);
      const auto difference = static_cast<double>(value - level * step);
      error += difference * difference;
    }
    if (error < best_error) {
      best_error = error;
      best = step;
    }
  }
  return best;
}

}  // namespace fl::internal
