#include "fl/compression/deploy/factor_layer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>

#include "fl/common/base/check.h"
#include "fl/common/tensor/tensor.h"
#include "fl/compression/deploy/internal/low_rank_math.h"
#include "fl/compression/deploy/variational_rank.h"

namespace fl::deploy {
namespace {

using internal::At;
using internal::Matrix;
using internal::Slices;
using internal::Spectrum;
using internal::Vector;
using internal::Weighting;

constexpr unsigned kHooiSweeps = 2;
constexpr std::size_t kCanonicalRankMax = 128;

std::vector<float> ToRowMajor(const Matrix& matrix) {
  std::vector<float> values;
  values.reserve(static_cast<std::size_t>(matrix.size()));
  for (Eigen::Index i = 0; i < matrix.rows(); ++i) {
    for (Eigen::Index k = 0; k < matrix.cols(); ++k)
      values.push_back(static_cast<float>(matrix(i, k)));
  }
  return values;
}

Factor MakeFactor(std::size_t height, std::size_t width, const Matrix& weight) {
  const auto rows = static_cast<std::size_t>(weight.rows());
  const std::size_t places = std::max<std::size_t>(1, height * width);
  return {.depthwise = false,
          .height = height,
          .width = width,
          .inputs = rows / places,
          .outputs = static_cast<std::size_t>(weight.cols()),
          .weight = ToRowMajor(weight)};
}

Factor MakeDepthwise(std::size_t height, std::size_t width, const Matrix& weight) {
  const auto channels = static_cast<std::size_t>(weight.cols());
  return {true, height, width, channels, channels, ToRowMajor(weight)};
}

// The least count of leading values that sum up to the share, at least 1.
std::size_t LeadingCount(const Vector& energies, double share) {
  const double wanted = share * energies.sum();
  double sum = 0;
  for (Eigen::Index k = 0; k < energies.size(); ++k) {
    sum += energies[k];
    if (sum >= wanted * (1 - 1e-12)) return static_cast<std::size_t>(k + 1);
  }
  return static_cast<std::size_t>(energies.size());
}

// Of a rows x columns matrix whose Gram matrix has these eigenvalues.
std::size_t VariationalCount(const Vector& energies, std::size_t rows, std::size_t columns) {
  std::vector<double> singular;
  for (std::size_t k = 0; k < std::min(rows, columns); ++k)
    singular.push_back(std::sqrt(energies[At(k)]));
  return std::max<std::size_t>(1, VariationalRank(singular, rows, columns));
}

// Shares the strength of A B evenly: column k of A and row k of B get the same length.
void Balance(Matrix& left, Matrix& right) {
  for (Eigen::Index k = 0; k < left.cols(); ++k) {
    const double first = left.col(k).norm();
    const double second = right.row(k).norm();
    if (!(first > 0) || !(second > 0)) continue;
    const double factor = std::sqrt(second / first);
    left.col(k) *= factor;
    right.row(k) /= factor;
  }
}

}  // namespace

struct LayerFactorizer::Parts {
  LowRankMethod method;
  std::size_t height;
  std::size_t width;
  std::size_t inputs;
  std::size_t outputs;
  bool separable;
  RngStream rng;
  Matrix weight;  // height * width * inputs x outputs.
  Weighting weighting;
  // kSvd: of W^T C W. kSpatialSvd: of the left side. kTucker and kCp: of both channel modes.
  std::array<Spectrum, 2> spectra;

  std::size_t places() const { return height * width; }
  Slices MakeSlices() const;
  // (height x inputs) x (width x outputs).
  Matrix MakeSpatial() const;
  void Prepare();

  // Each fills in the factors and returns the weight that they stand for.
  Matrix FactorizeSvd(std::size_t rank, Factorization& out) const;
  Matrix FactorizeSpatial(std::size_t rank, Factorization& out) const;
  Matrix FactorizeTucker(const Ranks& ranks, Factorization& out) const;
  Matrix FactorizeCanonical(std::size_t rank, Factorization& out) const;
  // The last factor by the weighting, where there are inputs.
  Matrix Refit(const Matrix& basis, const Matrix& otherwise) const;
};

Slices LayerFactorizer::Parts::MakeSlices() const {
  Slices slices;
  for (std::size_t p = 0; p < places(); ++p)
    slices.emplace_back(weight.middleRows(At(p * inputs), At(inputs)));
  return slices;
}

Matrix LayerFactorizer::Parts::MakeSpatial() const {
  Matrix spatial(At(height * inputs), At(width * outputs));
  for (std::size_t a = 0; a < height; ++a) {
    for (std::size_t b = 0; b < width; ++b) {
      spatial.block(At(a * inputs), At(b * outputs), At(inputs), At(outputs)) =
          weight.middleRows(At((a * width + b) * inputs), At(inputs));
    }
  }
  return spatial;
}

void LayerFactorizer::Parts::Prepare() {
  switch (method) {
    case LowRankMethod::kSvd:
      spectra[0] = internal::SpectrumOf(weighting.Product(weight, weight));
      break;
    case LowRankMethod::kSpatialSvd: {
      const Matrix spatial = MakeSpatial();
      spectra[0] = internal::SpectrumOf(spatial * spatial.transpose());
      break;
    }
    case LowRankMethod::kTucker:
    case LowRankMethod::kCp:
      spectra = internal::ModeSpectra(MakeSlices());
      break;
  }
}

Matrix LayerFactorizer::Parts::Refit(const Matrix& basis, const Matrix& otherwise) const {
  return weighting.has_inputs() ? internal::FitLast(weighting, basis, weight) : otherwise;
}

Matrix LayerFactorizer::Parts::FactorizeSvd(std::size_t rank, Factorization& out) const {
  Matrix right = spectra[0].vectors.leftCols(At(rank)).transpose();
  Matrix left = weight * right.transpose();
  Balance(left, right);
  out.factors = {MakeFactor(height, width, left), MakeFactor(1, 1, right)};
  return left * right;
}

Matrix LayerFactorizer::Parts::FactorizeSpatial(std::size_t rank, Factorization& out) const {
  const Matrix spatial = MakeSpatial();
  Matrix vertical = spectra[0].vectors.leftCols(At(rank));
  Matrix fitted = vertical.transpose() * spatial;
  Balance(vertical, fitted);
  // What the vertical factor makes of a window: row (a, b, i) has its values at columns (b, r).
  Matrix basis = Matrix::Zero(weight.rows(), At(width * rank));
  Matrix horizontal(At(width * rank), At(outputs));
  for (std::size_t b = 0; b < width; ++b) {
    horizontal.middleRows(At(b * rank), At(rank)) = fitted.middleCols(At(b * outputs), At(outputs));
    for (std::size_t a = 0; a < height; ++a) {
      basis.block(At((a * width + b) * inputs), At(b * rank), At(inputs), At(rank)) =
          vertical.middleRows(At(a * inputs), At(inputs));
    }
  }
  horizontal = Refit(basis, horizontal);
  out.factors = {MakeFactor(height, 1, vertical), MakeFactor(1, width, horizontal)};
  return basis * horizontal;
}

Matrix LayerFactorizer::Parts::FactorizeTucker(const Ranks& ranks, Factorization& out) const {
  const internal::TuckerFactors tucker =
      internal::DecomposeTucker(MakeSlices(), At(ranks.in), At(ranks.out), kHooiSweeps);
  Matrix core(At(places() * ranks.in), At(ranks.out));
  Matrix basis(weight.rows(), At(ranks.out));
  for (std::size_t p = 0; p < places(); ++p) {
    core.middleRows(At(p * ranks.in), At(ranks.in)) = tucker.core[p];
    basis.middleRows(At(p * inputs), At(inputs)) = tucker.in * tucker.core[p];
  }
  const Matrix last = Refit(basis, tucker.out.transpose());
  out.factors = {MakeFactor(1, 1, tucker.in), MakeFactor(height, width, core),
                 MakeFactor(1, 1, last)};
  return basis * last;
}

Matrix LayerFactorizer::Parts::FactorizeCanonical(std::size_t rank, Factorization& out) const {
  const std::vector<float> flat = ToRowMajor(weight);
  const std::vector<double> values(flat.begin(), flat.end());
  std::vector<std::size_t> extents = {height, width, inputs, outputs};
  if (!separable) extents = {places(), inputs, outputs};
  std::vector<Matrix> factors =
      internal::DecomposeCanonical(values, extents, At(rank), rng.Child("canonical", rank));
  Matrix last = factors.back().transpose();
  const Matrix channels = factors[factors.size() - 2];
  // The middle as one kernel: places x rank.
  Matrix middle = factors[0];
  if (separable) {
    middle.resize(At(places()), At(rank));
    for (std::size_t p = 0; p < places(); ++p) {
      middle.row(At(p)) =
          (factors[0].row(At(p / width)).array() * factors[1].row(At(p % width)).array()).matrix();
    }
  }
  Matrix basis(weight.rows(), At(rank));
  for (std::size_t p = 0; p < places(); ++p) {
    basis.middleRows(At(p * inputs), At(inputs)) =
        (channels.array().rowwise() * middle.row(At(p)).array()).matrix();
  }
  last = Refit(basis, last);
  out.factors.push_back(MakeFactor(1, 1, channels));
  if (separable) {
    out.factors.push_back(MakeDepthwise(height, 1, factors[0]));
    out.factors.push_back(MakeDepthwise(1, width, factors[1]));
  } else {
    out.factors.push_back(MakeDepthwise(height, width, middle));
  }
  out.factors.push_back(MakeFactor(1, 1, last));
  return basis * last;
}

LayerFactorizer::LayerFactorizer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
LayerFactorizer::LayerFactorizer(LayerFactorizer&&) noexcept = default;
LayerFactorizer& LayerFactorizer::operator=(LayerFactorizer&&) noexcept = default;
LayerFactorizer::~LayerFactorizer() = default;

Result<LayerFactorizer> LayerFactorizer::Create(LowRankMethod method, const LayerWeight& weight,
                                                const LayerInputs& inputs, bool separable,
                                                const RngStream& rng) {
  const std::size_t rows = weight.rows();
  if (rows == 0 || weight.outputs == 0 || weight.values.size() != rows * weight.outputs ||
      inputs.values.size() != inputs.rows * rows) {
    return Error{ErrorCode::kInvalidArgument, "expected a weight of " + std::to_string(rows) +
                                                  " x " + std::to_string(weight.outputs) +
                                                  " and inputs of as many values a row"};
  }
  if (method != LowRankMethod::kSvd && weight.height * weight.width == 1) {
    return Error{ErrorCode::kInvalidArgument,
                 "expected a kernel larger than 1x1; svd takes 1x1 and dense layers apart"};
  }
  if (!AllFinite(weight.values) || !AllFinite(inputs.values))
    return Error{ErrorCode::kNotFinite, "expected finite weights and inputs"};
  using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  auto parts = std::make_unique<Parts>(Parts{
      method,
      weight.height,
      weight.width,
      weight.inputs,
      weight.outputs,
      separable,
      rng,
      Eigen::Map<const RowMajor>(weight.values.data(), At(rows), At(weight.outputs)).cast<double>(),
      Weighting(inputs.values, rows),
      {}});
  parts->Prepare();
  return LayerFactorizer(std::move(parts));
}

LowRankMethod LayerFactorizer::method() const {
  return parts_->method;
}

std::size_t LayerFactorizer::level_max() const {
  const Parts& parts = *parts_;
  switch (parts.method) {
    case LowRankMethod::kSvd:
      return std::min(parts.places() * parts.inputs, parts.outputs);
    case LowRankMethod::kSpatialSvd:
      return std::min(parts.height * parts.inputs, parts.width * parts.outputs);
    case LowRankMethod::kTucker:
      return std::max(parts.inputs, parts.outputs);
    case LowRankMethod::kCp:
      // One product for each place and channel of the side that has fewer.
      return std::min(kCanonicalRankMax, parts.places() * std::min(parts.inputs, parts.outputs));
  }
  return 1;
}

Ranks LayerFactorizer::RanksOf(std::size_t level) const {
  const Parts& parts = *parts_;
  if (parts.method != LowRankMethod::kTucker) return {level, level};
  const std::size_t most = level_max();
  const auto share = [&](std::size_t channels, std::size_t others) {
    // Not more directions than the other mode and the places can tell apart.
    return std::min((channels * level + most - 1) / most, parts.places() * others);
  };
  return {share(parts.inputs, parts.outputs), share(parts.outputs, parts.inputs)};
}

std::vector<Factor> LayerFactorizer::ShapesOf(const Ranks& ranks) const {
  const Parts& parts = *parts_;
  const std::size_t h = parts.height;
  const std::size_t w = parts.width;
  const std::size_t r = ranks.in;
  const Factor last{false, 1, 1, ranks.out, parts.outputs, {}};
  switch (parts.method) {
    case LowRankMethod::kSvd:
      return {{false, h, w, parts.inputs, r, {}}, last};
    case LowRankMethod::kSpatialSvd:
      return {{false, h, 1, parts.inputs, r, {}}, {false, 1, w, r, parts.outputs, {}}};
    case LowRankMethod::kTucker:
      return {{false, 1, 1, parts.inputs, r, {}}, {false, h, w, r, ranks.out, {}}, last};
    case LowRankMethod::kCp:
      break;
  }
  if (!parts.separable) return {{false, 1, 1, parts.inputs, r, {}}, {true, h, w, r, r, {}}, last};
  return {{false, 1, 1, parts.inputs, r, {}}, {true, h, 1, r, r, {}}, {true, 1, w, r, r, {}}, last};
}

Ranks LayerFactorizer::EnergyRanks(double share) const {
  const auto& spectra = parts_->spectra;
  const auto within = [this](std::size_t rank) { return std::min(rank, level_max()); };
  const std::size_t first = within(LeadingCount(spectra[0].values, share));
  if (parts_->method == LowRankMethod::kTucker)
    return {first, within(LeadingCount(spectra[1].values, share))};
  if (parts_->method != LowRankMethod::kCp) return {first, first};
  // CP's directions come all at once: the least rank by bisection, the energy rising with it.
  std::size_t low = 1;
  std::size_t high = level_max();
  while (low < high) {
    const std::size_t middle = (low + high) / 2;
    const Factorization found = Factorize({middle, middle});
    if (1 - found.error >= share) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return {low, low};
}

Ranks LayerFactorizer::VariationalRanks() const {
  const Parts& parts = *parts_;
  const std::size_t rows = parts.places() * parts.inputs;
  if (parts.method == LowRankMethod::kSvd) {
    const Matrix gram = rows < parts.outputs ? Matrix(parts.weight * parts.weight.transpose())
                                             : Matrix(parts.weight.transpose() * parts.weight);
    const std::size_t rank =
        VariationalCount(internal::SpectrumOf(gram).values, rows, parts.outputs);
    return {rank, rank};
  }
  if (parts.method == LowRankMethod::kSpatialSvd) {
    const std::size_t rank = VariationalCount(parts.spectra[0].values, parts.height * parts.inputs,
                                              parts.width * parts.outputs);
    return {rank, rank};
  }
  const Ranks ranks{
      VariationalCount(parts.spectra[0].values, parts.inputs, parts.places() * parts.outputs),
      VariationalCount(parts.spectra[1].values, parts.outputs, parts.places() * parts.inputs)};
  if (parts.method == LowRankMethod::kTucker) return ranks;
  const std::size_t larger = std::min(std::max(ranks.in, ranks.out), level_max());
  return {larger, larger};
}

double LayerFactorizer::ErrorOf(const Ranks& ranks) const {
  if (parts_->method != LowRankMethod::kSvd) return Factorize(ranks).error;
  const Vector& energies = parts_->spectra[0].values;
  const double all = energies.sum();
  return all > 0 ? energies.tail(energies.size() - At(ranks.out)).sum() / all : 0;
}

Factorization LayerFactorizer::Factorize(const Ranks& ranks) const {
  FL_CHECK(ranks.in >= 1 && ranks.out >= 1 && std::max(ranks.in, ranks.out) <= level_max(),
           "LayerFactorizer: ranks that the layer can have");
  const Parts& parts = *parts_;
  Factorization out;
  Matrix product;
  switch (parts.method) {
    case LowRankMethod::kSvd:
      product = parts.FactorizeSvd(ranks.out, out);
      break;
    case LowRankMethod::kSpatialSvd:
      product = parts.FactorizeSpatial(ranks.out, out);
      break;
    case LowRankMethod::kTucker:
      product = parts.FactorizeTucker(ranks, out);
      break;
    case LowRankMethod::kCp:
      product = parts.FactorizeCanonical(ranks.out, out);
      break;
  }
  const Matrix lost = parts.weight - product;
  const double energy = parts.weighting.Energy(parts.weight);
  out.error = energy > 0 ? parts.weighting.Energy(lost) / energy : 0;
  out.product = ToRowMajor(product);
  out.bias_shift = ToRowMajor(parts.weighting.mean().transpose() * lost);
  return out;
}

}  // namespace fl::deploy
