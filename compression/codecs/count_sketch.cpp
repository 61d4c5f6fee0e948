#include "fl/compression/codecs/count_sketch.h"

#include <algorithm>
#include <bit>

#include "fl/common/base/check.h"
#include "fl/common/random/rng_stream.h"

namespace fl {
namespace {

constexpr std::uint64_t kPrime = (std::uint64_t{1} << 31) - 1;
constexpr std::size_t kRun = 256;  // Values whose places are computed at once.

// Where a run of values goes in one row.
struct Places {
  std::array<std::uint32_t, kRun> columns;
  std::array<std::uint32_t, kRun> signs;  // The highest bit is a float's sign bit, changed.
};

// Below 2 * kPrime for x below 2^62.
std::uint64_t Fold(std::uint64_t x) {
  return (x & kPrime) + (x >> 31);
}

// a0 + x (a1 + x (a2 + x a3)) modulo kPrime.
std::uint64_t Polynomial(const std::array<std::uint32_t, 4>& a, std::uint64_t x) {
  std::uint64_t value = a[3];
  for (std::size_t i = 3; i-- > 0;) {
    value = Fold(Fold(value * x) + a[i]);
    value -= value >= kPrime ? kPrime : 0;
  }
  return value;
}

void FindPlaces(const std::array<std::uint32_t, 4>& hash, std::size_t columns, std::size_t first,
                std::size_t count, Places& places) {
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t value = Polynomial(hash, first + i);
    places.columns[i] = static_cast<std::uint32_t>((value >> 1) * columns >> 30);
    places.signs[i] = static_cast<std::uint32_t>(value << 31);
  }
}

float WithSign(float value, std::uint32_t sign) {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) ^ sign);
}

using Estimates = std::array<std::array<float, kRun>, CountSketch::kRowsMax>;

// Sorts the first `rows` estimates of each value: an odd-even transposition network, whose steps
// are the same for all values.
void SortRows(std::size_t rows, std::size_t count, Estimates& estimates) {
  for (std::size_t step = 0; step < rows; ++step) {
    for (std::size_t row = step % 2; row + 1 < rows; row += 2) {
      auto& low = estimates[row];
      auto& high = estimates[row + 1];
      for (std::size_t i = 0; i < count; ++i) {
        const float a = low[i];
        const float b = high[i];
        low[i] = b < a ? b : a;
        high[i] = b < a ? a : b;
      }
    }
  }
}

}  // namespace

CountSketch::CountSketch(const CountSketchConfig& config) : config_(config) {
  FL_CHECK(config.rows >= 1 && config.rows <= kRowsMax && config.columns >= 1 &&
               config.columns <= kColumnsMax && config.count >= 1 && config.count <= kCountMax,
           "a sketch's sizes are checked where its recipe is read");
  for (std::size_t row = 0; row < config.rows; ++row) {
    RngStream rng = RngStream(config.seed).Child("count_sketch", row);
    Coefficients& hash = hashes_.emplace_back();
    for (std::uint32_t& a : hash) a = static_cast<std::uint32_t>(rng.UniformInteger(kPrime));
  }
}

void CountSketch::Add(std::span<const float> values, std::size_t first,
                      std::span<float> cells) const {
  FL_CHECK(cells.size() == this->cells() && first + values.size() <= count(),
           "a sketch is made for one number of values");
  Places places;
  for (std::size_t row = 0; row < rows(); ++row) {
    const auto own = cells.subspan(row * columns(), columns());
    for (std::size_t at = 0; at < values.size(); at += kRun) {
      const auto run = values.subspan(at, std::min(kRun, values.size() - at));
      FindPlaces(hashes_[row], columns(), first + at, run.size(), places);
      for (std::size_t i = 0; i < run.size(); ++i) {
        own[places.columns[i]] += WithSign(run[i], places.signs[i]);
      }
    }
  }
}

void CountSketch::AddOne(std::size_t index, float value, std::span<float> cells) const {
  Add(std::span(&value, 1), index, cells);
}

void CountSketch::Estimate(std::span<const float> cells, std::size_t first,
                           std::span<float> out) const {
  FL_CHECK(cells.size() == this->cells() && first + out.size() <= count(),
           "a sketch is made for one number of values");
  Places places;
  Estimates estimates;
  for (std::size_t at = 0; at < out.size(); at += kRun) {
    const auto run = out.subspan(at, std::min(kRun, out.size() - at));
    for (std::size_t row = 0; row < rows(); ++row) {
      const auto own = cells.subspan(row * columns(), columns());
      FindPlaces(hashes_[row], columns(), first + at, run.size(), places);
      for (std::size_t i = 0; i < run.size(); ++i) {
        estimates[row][i] = WithSign(own[places.columns[i]], places.signs[i]);
      }
    }
    SortRows(rows(), run.size(), estimates);
    const auto& low = estimates[(rows() - 1) / 2];
    const auto& high = estimates[rows() / 2];
    const bool odd = rows() % 2 == 1;
    for (std::size_t i = 0; i < run.size(); ++i) {
      run[i] = odd ? low[i] : 0.5F * low[i] + 0.5F * high[i];
    }
  }
}

}  // namespace fl
