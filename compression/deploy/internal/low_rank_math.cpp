#include "fl/compression/deploy/internal/low_rank_math.h"

#include <algorithm>
#include <cmath>

#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>

namespace fl::deploy::internal {
namespace {

constexpr double kRidge = 1e-3;  // Of the mean variance of an input.

// (symmetric + jitter)^-1 right, the jitter 1e-9 of the mean of the diagonal.
Matrix SolvePositive(Matrix symmetric, const Matrix& right) {
  const double trace = symmetric.trace();
  const double jitter = trace > 0 ? 1e-9 * trace / static_cast<double>(symmetric.rows()) : 1.0;
  symmetric.diagonal().array() += jitter;
  return symmetric.ldlt().solve(right);
}

// Sum over the slices of a function of each.
template <typename Function>
Matrix SumOver(const Slices& slices, Function function) {
  Matrix sum = function(slices.front());
  for (std::size_t i = 1; i < slices.size(); ++i) sum += function(slices[i]);
  return sum;
}

// Scales each column to length 1; a zero column stays.
void NormalizeColumns(Matrix& matrix) {
  for (Eigen::Index k = 0; k < matrix.cols(); ++k) {
    const double norm = matrix.col(k).norm();
    if (norm > 0) matrix.col(k) /= norm;
  }
}

// Of every value times the products of the other axes' factors, a row for each index of `axis`.
Matrix Contract(std::span<const double> values, std::span<const std::size_t> extents,
                std::span<const Matrix> factors, std::size_t axis) {
  const Eigen::Index rank = factors.front().cols();
  // Rows of factors are read, so these are columns of the transposed ones.
  std::vector<Matrix> rows;
  for (const Matrix& factor : factors) rows.emplace_back(factor.transpose());
  Matrix sum = Matrix::Zero(rank, At(extents[axis]));
  std::vector<std::size_t> index(extents.size(), 0);
  Vector product(rank);
  for (const double value : values) {
    product.setConstant(value);
    for (std::size_t k = 0; k < extents.size(); ++k) {
      if (k != axis) product.array() *= rows[k].col(At(index[k])).array();
    }
    sum.col(At(index[axis])) += product;
    for (std::size_t k = extents.size(); k-- > 0;) {
      if (++index[k] < extents[k]) break;
      index[k] = 0;
    }
  }
  return sum.transpose();
}

// The elementwise product of factor^T factor over all axes but one.
Matrix GramOfOthers(std::span<const Matrix> factors, std::size_t axis) {
  const Eigen::Index rank = factors.front().cols();
  Matrix gram = Matrix::Ones(rank, rank);
  for (std::size_t k = 0; k < factors.size(); ++k) {
    if (k != axis) gram.array() *= (factors[k].transpose() * factors[k]).array();
  }
  return gram;
}

}  // namespace

Spectrum SpectrumOf(const Matrix& symmetric) {
  const Eigen::SelfAdjointEigenSolver<Matrix> solver(symmetric);
  return {solver.eigenvalues().reverse().cwiseMax(0.0), solver.eigenvectors().rowwise().reverse()};
}

Weighting::Weighting(std::span<const float> values, std::size_t width)
    : mean_(Vector::Zero(At(width))) {
  using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const std::size_t rows = values.size() / width;
  if (rows == 0) return;
  centred_ = Eigen::Map<const RowMajor>(values.data(), At(rows), At(width)).template cast<double>();
  mean_ = centred_.colwise().mean().transpose();
  centred_.rowwise() -= mean_.transpose();
  centred_ /= std::sqrt(static_cast<double>(rows));
  const double variance = centred_.squaredNorm() / static_cast<double>(width);
  if (variance > 0) {
    ridge_ = kRidge * variance;
  } else {
    centred_.resize(0, 0);
  }
}

Matrix Weighting::Product(const Matrix& p, const Matrix& q) const {
  Matrix product = ridge_ * (p.transpose() * q);
  if (has_inputs()) product += (centred_ * p).transpose() * (centred_ * q);
  return product;
}

double Weighting::Energy(const Matrix& p) const {
  return ridge_ * p.squaredNorm() + (has_inputs() ? (centred_ * p).squaredNorm() : 0.0);
}

Matrix FitLast(const Weighting& weighting, const Matrix& basis, const Matrix& target) {
  return SolvePositive(weighting.Product(basis, basis), weighting.Product(basis, target));
}

TuckerFactors DecomposeTucker(const Slices& slices, Eigen::Index rank_in, Eigen::Index rank_out,
                              unsigned sweeps) {
  const std::array<Spectrum, 2> modes = ModeSpectra(slices);
  TuckerFactors factors{
      modes[0].vectors.leftCols(rank_in), modes[1].vectors.leftCols(rank_out), {}};
  for (unsigned sweep = 0; sweep < sweeps; ++sweep) {
    const Matrix by_in = SumOver(slices, [&](const Matrix& slice) -> Matrix {
      const Matrix mixed = slice * factors.out;
      return mixed * mixed.transpose();
    });
    factors.in = SpectrumOf(by_in).vectors.leftCols(rank_in);
    const Matrix by_out = SumOver(slices, [&](const Matrix& slice) -> Matrix {
      const Matrix mixed = factors.in.transpose() * slice;
      return mixed.transpose() * mixed;
    });
    factors.out = SpectrumOf(by_out).vectors.leftCols(rank_out);
  }
  for (const Matrix& slice : slices)
    factors.core.emplace_back(factors.in.transpose() * slice * factors.out);
  return factors;
}

std::array<Spectrum, 2> ModeSpectra(const Slices& slices) {
  return {SpectrumOf(SumOver(
              slices, [](const Matrix& slice) -> Matrix { return slice * slice.transpose(); })),
          SpectrumOf(SumOver(
              slices, [](const Matrix& slice) -> Matrix { return slice.transpose() * slice; }))};
}

std::vector<Matrix> DecomposeCanonical(std::span<const double> values,
                                       std::span<const std::size_t> extents, Eigen::Index rank,
                                       RngStream rng) {
  std::vector<Matrix> factors;
  for (const std::size_t extent : extents) {
    Matrix factor(At(extent), rank);
    for (Eigen::Index k = 0; k < rank; ++k) {
      for (Eigen::Index i = 0; i < factor.rows(); ++i)
        factor(i, k) = static_cast<double>(rng.Normal());
    }
    NormalizeColumns(factor);
    factors.push_back(std::move(factor));
  }
  double energy = 0;
  for (const double value : values) energy += value * value;
  constexpr int kSweepsMax = 60;
  double lost = energy;
  for (int sweep = 0; sweep < kSweepsMax; ++sweep) {
    double kept = 0;
    for (std::size_t axis = 0; axis < extents.size(); ++axis) {
      const Matrix gram = GramOfOthers(factors, axis);
      const Matrix contracted = Contract(values, extents, factors, axis);
      factors[axis] = SolvePositive(gram, contracted.transpose()).transpose();
      if (axis + 1 < extents.size()) {
        NormalizeColumns(factors[axis]);
      } else {
        // |W|^2 - |W'|^2 is the error of a least-squares fit, <W, W'> being |W'|^2.
        kept = (factors[axis].array() * contracted.array()).sum();
      }
    }
    const double now = energy - kept;
    if (lost - now < 1e-5 * energy && sweep > 0) break;
    lost = now;
  }
  return factors;
}

}  // namespace fl::deploy::internal
