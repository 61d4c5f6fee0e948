#include "fl/compression/codecs/factorize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

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

// out[k][i] = matrix row i times right row k.
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

// out[k] = left row k times the matrix: rows are added one after the other.
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

// Makes the rows orthonormal, in order, each pass twice ("twice is enough": Giraud et al. 2005). A
// row of which next to nothing is left becomes zero.
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

// Solves (lower lower^T) x = b in place for one column; lower is the Cholesky factor, rank x rank.
void SolveCholesky(std::span<const double> lower, std::size_t rank, std::span<double> x) {
  for (std::size_t i = 0; i < rank; ++i) {
    for (std::size_t k = 0; k < i; ++k) x[i] -= lower[i * rank + k] * x[k];
    x[i] /= lower[i * rank + i];
  }
  for (std::size_t i = rank; i-- > 0;) {
    for (std::size_t k = i + 1; k < rank; ++k) x[i] -= lower[k * rank + i] * x[k];
    x[i] /= lower[i * rank + i];
  }
}

// The Cholesky factor of left left^T + eps I.
std::vector<double> FactorGram(std::span<const float> left, std::size_t rank) {
  const std::size_t length = left.size() / rank;
  std::vector<double> lower(rank * rank);
  double trace = 0;
  for (std::size_t i = 0; i < rank; ++i) {
    for (std::size_t k = 0; k <= i; ++k) {
      lower[i * rank + k] = Dot(left.subspan(i * length, length), left.subspan(k * length, length));
    }
    trace += lower[i * rank + i];
  }
  const double ridge = trace > 0 ? 1e-4 * trace / static_cast<double>(rank) : 1.0;
  for (std::size_t i = 0; i < rank; ++i) {
    lower[i * rank + i] += ridge;
    for (std::size_t k = 0; k <= i; ++k) {
      double sum = lower[i * rank + k];
      for (std::size_t m = 0; m < k; ++m) sum -= lower[i * rank + m] * lower[k * rank + m];
      lower[i * rank + k] =
          i == k ? std::sqrt(std::max(sum, 0.5 * ridge)) : sum / lower[k * rank + k];
    }
  }
  return lower;
}

// One turn of Jacobi's method: makes entry (p, q) of the symmetric matrix zero, and turns the rows
// p and q of `turned` likewise.
void Turn(std::span<double> symmetric, std::span<double> turned, std::size_t size, std::size_t p,
          std::size_t q) {
  const double off = symmetric[p * size + q];
  if (off == 0) return;
  const double theta = (symmetric[q * size + q] - symmetric[p * size + p]) / (2 * off);
  const double tangent =
      (theta < 0 ? -1.0 : 1.0) / (std::fabs(theta) + std::sqrt(theta * theta + 1));
  const double cosine = 1 / std::sqrt(tangent * tangent + 1);
  const double sine = tangent * cosine;
  const auto mix = [&](double& a, double& b) {
    const double before = a;
    a = cosine * before - sine * b;
    b = sine * before + cosine * b;
  };
  for (std::size_t i = 0; i < size; ++i) mix(symmetric[i * size + p], symmetric[i * size + q]);
  for (std::size_t i = 0; i < size; ++i) mix(symmetric[p * size + i], symmetric[q * size + i]);
  for (std::size_t i = 0; i < size; ++i) mix(turned[p * size + i], turned[q * size + i]);
}

// Eigenvectors of a symmetric matrix, in rows, whose diagonal becomes the eigenvalues: Jacobi's
// cyclic method, which has converged long before the last of these sweeps.
std::vector<double> Diagonalize(std::span<double> symmetric, std::size_t size) {
  constexpr int kSweeps = 12;
  std::vector<double> vectors(size * size);
  for (std::size_t i = 0; i < size; ++i) vectors[i * size + i] = 1;
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    for (std::size_t p = 0; p < size; ++p) {
      for (std::size_t q = p + 1; q < size; ++q) Turn(symmetric, vectors, size, p, q);
    }
  }
  return vectors;
}

}  // namespace

std::vector<double> OrderByEnergy(const MatrixView& matrix, std::size_t rank,
                                  std::span<float> left) {
  const std::vector<float> right = ToFloats(MultiplyLeft(matrix, left, rank));
  std::vector<double> gram(rank * rank);
  for (std::size_t i = 0; i < rank; ++i) {
    for (std::size_t k = 0; k < rank; ++k) {
      gram[i * rank + k] = Dot(std::span(right).subspan(i * matrix.columns, matrix.columns),
                               std::span(right).subspan(k * matrix.columns, matrix.columns));
    }
  }
  const std::vector<double> vectors = Diagonalize(gram, rank);
  std::vector<std::size_t> order(rank);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(
      order, [&](std::size_t a, std::size_t b) { return gram[a * rank + a] > gram[b * rank + b]; });
  std::vector<double> energies(rank);
  std::vector<float> turned(left.size());
  for (std::size_t k = 0; k < rank; ++k) {
    energies[k] = std::max(gram[order[k] * rank + order[k]], 0.0);
    for (std::size_t i = 0; i < matrix.rows; ++i) {
      double sum = 0;
      for (std::size_t m = 0; m < rank; ++m)
        sum += vectors[order[k] * rank + m] * static_cast<double>(left[m * matrix.rows + i]);
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
  std::vector<double> product = MultiplyLeft(matrix, left, rank);
  const std::vector<double> lower = FactorGram(left, rank);
  std::vector<double> column(rank);
  for (std::size_t j = 0; j < matrix.columns; ++j) {
    for (std::size_t k = 0; k < rank; ++k) column[k] = product[k * matrix.columns + j];
    SolveCholesky(lower, rank, column);
    for (std::size_t k = 0; k < rank; ++k) product[k * matrix.columns + j] = column[k];
  }
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
