#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace fl {

struct CountSketchConfig {
  std::size_t rows = 5;        // 1 to CountSketch::kRowsMax.
  std::size_t columns = 1024;  // Cells of a row, 1 to CountSketch::kColumnsMax.
  std::size_t count = 0;       // Values that are sketched, 1 to CountSketch::kCountMax.
  std::uint32_t seed = 1;      // Of the hash functions.
};

// A count sketch (Charikar, Chen, Farach-Colton 2002): a table of fewer cells than there are
// values, linear in them. In each row a value is added to one cell, or taken from it:
//
//   cell(row, column) = sum of sign(row, i) * value(i) over the i whose column in the row it is
//
// and is told as the median over the rows of sign(row, i) * its cell; with an even number of rows,
// half of each of the two in the middle. Over the seeds a row's estimate has the value as its mean
// and a variance of at most |values|^2 / columns, the median at most twice that. Values that are
// large beside |values| / sqrt(columns) stand out.
//
// Column and sign come from a polynomial of degree 3 over the integers modulo p = 2^31 - 1, so that
// those of any four values are independent:
//   v(row, i) = a0 + a1 i + a2 i^2 + a3 i^3 modulo p
//   column    = (v / 2) * columns / 2^30, both rounded down
//   sign      = -1 where v is odd, else 1
// with a0 to a3 = UniformInteger(p), in this order, of RngStream(seed).Child("count_sketch", row).
//
// Cells lie row by row, rows() * columns() of them. Values are added in the order of their indices,
// in fp32. Integers decide where, so that the bits are the same everywhere. Immutable. Thread
// safety: shared objects safe.
class CountSketch {
 public:
  static constexpr std::size_t kRowsMax = 15;
  static constexpr std::size_t kColumnsMax = std::size_t{1} << 20;
  static constexpr std::size_t kCountMax = (std::size_t{1} << 31) - 2;

  explicit CountSketch(const CountSketchConfig& config);

  std::size_t rows() const { return config_.rows; }
  std::size_t columns() const { return config_.columns; }
  std::size_t cells() const { return config_.rows * config_.columns; }
  std::size_t count() const { return config_.count; }

  // Adds the sketch of values.size() values from `first` on to all cells.
  void Add(std::span<const float> values, std::size_t first, std::span<float> cells) const;
  // The same for one value.
  void AddOne(std::size_t index, float value, std::span<float> cells) const;
  // out[i] = what all cells tell of the value first + i. The same bits for any split.
  void Estimate(std::span<const float> cells, std::size_t first, std::span<float> out) const;

 private:
  using Coefficients = std::array<std::uint32_t, 4>;  // The constant one first.

  CountSketchConfig config_;
  std::vector<Coefficients> hashes_;  // One a row.
};

}  // namespace fl
