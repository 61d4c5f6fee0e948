#include "fl/compression/deploy/variational_rank.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "fl/common/base/check.h"

namespace fl::deploy {
namespace {

// What the free energy depends on, but for the noise.
struct Spectrum {
  std::vector<double> squares;  // Of the singular values, falling.
  double shorter = 1;           // L.
  double longer = 1;            // M.

  double alpha() const { return shorter / longer; }
  double tau() const { return 2.5129 * std::sqrt(alpha()); }
  // A squared singular value over M s^2 stays where it exceeds this.
  double threshold() const { return (1 + tau()) * (1 + alpha() / tau()); }
};

// Up to a constant: Nakajima et al., equation 29, over L.
double FreeEnergy(const Spectrum& spectrum, double variance) {
  const double alpha = spectrum.alpha();
  const double threshold = spectrum.threshold();
  double energy = 0;
  for (const double square : spectrum.squares) {
    const double x = square / (spectrum.longer * variance);
    energy += x - std::log(x);
    if (x <= threshold) continue;
    const double centred = x - (1 + alpha);
    const double tau = 0.5 * (centred + std::sqrt(centred * centred - 4 * alpha));
    energy += std::log(tau + 1) + alpha * std::log(tau / alpha + 1) - tau;
  }
  return energy;
}

// The least of a function between two arguments, by golden sections.
double Minimize(const std::function<double(double)>& function, double low, double high) {
  const double ratio = 0.5 * (std::sqrt(5.0) - 1);
  double left = high - ratio * (high - low);
  double right = low + ratio * (high - low);
  double at_left = function(left);
  double at_right = function(right);
  for (int i = 0; i < 60; ++i) {
    if (at_left <= at_right) {
      high = right;
      right = left;
      at_right = at_left;
      left = high - ratio * (high - low);
      at_left = function(left);
    } else {
      low = left;
      left = right;
      at_left = at_right;
      right = low + ratio * (high - low);
      at_right = function(right);
    }
  }
  return 0.5 * (low + high);
}

// The noise's variance lies between what the smallest singular values alone would say and the
// mean square of all entries.
double NoiseVariance(const Spectrum& spectrum) {
  const std::size_t count = spectrum.squares.size();
  const double entries = spectrum.shorter * spectrum.longer;
  double all = 0;
  for (const double square : spectrum.squares) all += square;
  const auto signals_max = static_cast<std::size_t>(
      std::max(0.0, std::ceil(spectrum.shorter / (1 + spectrum.alpha())) - 1));
  const std::size_t first = std::min(signals_max, count - 1);
  double tail = 0;
  for (std::size_t i = first; i < count; ++i) tail += spectrum.squares[i];
  const double high = std::log(all / entries);
  const double least = std::max({spectrum.squares[first] / (spectrum.longer * spectrum.threshold()),
                                 tail / (static_cast<double>(count - first) * spectrum.longer),
                                 1e-12 * all / entries});
  const double low = std::min(std::log(least), high);
  constexpr int kGrid = 256;
  const double step = (high - low) / kGrid;
  const auto energy = [&spectrum](double logarithm) {
    return FreeEnergy(spectrum, std::exp(logarithm));
  };
  int best = 0;
  for (int i = 1; i <= kGrid; ++i) {
    if (energy(low + i * step) < energy(low + best * step)) best = i;
  }
  return std::exp(
      Minimize(energy, low + std::max(0, best - 1) * step, low + std::min(kGrid, best + 1) * step));
}

}  // namespace

std::size_t VariationalRank(std::span<const double> singular_values, std::size_t rows,
                            std::size_t columns) {
  FL_CHECK(!singular_values.empty() && singular_values.size() == std::min(rows, columns),
           "VariationalRank: one singular value for each of the shorter extent");
  Spectrum spectrum{.squares = {},
                    .shorter = static_cast<double>(std::min(rows, columns)),
                    .longer = static_cast<double>(std::max(rows, columns))};
  for (const double value : singular_values) spectrum.squares.push_back(value * value);
  std::ranges::sort(spectrum.squares, std::greater<>());
  if (!(spectrum.squares.front() > 0)) return 0;
  // The logarithm of a missing direction is taken as that of rounding.
  for (double& square : spectrum.squares)
    square = std::max(square, 1e-24 * spectrum.squares.front());
  const double least = spectrum.longer * NoiseVariance(spectrum) * spectrum.threshold();
  return static_cast<std::size_t>(
      std::ranges::count_if(spectrum.squares, [least](double square) { return square > least; }));
}

}  // namespace fl::deploy
