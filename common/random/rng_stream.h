#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace fl {

// A counter-based random stream (Philox 4x32-10; Salmon et al. 2011, doi:10.1145/2063384.2063405).
// A child is named, so what it yields depends on the path of names from the root and on nothing
// else: not on how much of a sibling was used, nor on threads.
//   RngStream(seed).Child("client", id).Child("round", r).Child("top_k", tensor)
// The numbers are the same on every machine (golden vectors in tests/common/random). Not for keys,
// nonces or privacy. Thread safety: distinct objects safe.
class RngStream {
 public:
  explicit RngStream(std::uint64_t seed);

  // The stream named by (purpose, index) below this one; this one is unchanged.
  RngStream Child(std::string_view purpose, std::uint64_t index = 0) const;
  RngStream Child(std::string_view purpose, std::string_view name) const;

  std::uint32_t NextU32();
  std::uint64_t NextU64();
  // In [0, 1), 24 bits.
  float Uniform();
  // In [0, 1), 53 bits.
  double UniformDouble();
  // In [0, bound), unbiased; bound >= 1.
  std::uint64_t UniformInteger(std::uint64_t bound);
  // Standard normal (polar method).
  float Normal();
  // Gamma(shape, 1), shape > 0 (Marsaglia & Tsang 2000).
  double Gamma(double shape);

  void FillNormal(std::span<float> out);
  void FillUniform(std::span<float> out);
  // As NextU32 one after the other.
  void FillWords(std::span<std::uint32_t> out);

  // Fisher and Yates.
  template <typename T>
  void Shuffle(std::span<T> values) {
    for (std::size_t i = values.size(); i > 1; --i)
      std::swap(values[i - 1], values[UniformInteger(i)]);
  }

 private:
  RngStream(std::uint64_t key, int) : key_(key) {}
  void Refill();

  std::uint64_t key_;
  std::uint64_t counter_ = 0;
  std::array<std::uint32_t, 4> block_{};
  unsigned used_ = 4;
  bool has_spare_ = false;
  float spare_ = 0;
};

}  // namespace fl
