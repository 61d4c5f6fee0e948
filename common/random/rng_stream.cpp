#include "fl/common/random/rng_stream.h"

#include <cmath>
#include <numbers>

#include "fl/common/base/check.h"
#include "fl/common/random/internal/philox.h"
#include "fl/common/random/kernels/uniform.h"

namespace fl {
namespace {

std::uint64_t Mix(std::uint64_t value) {  // The finalizer of SplitMix64 (Steele, Lea & Flood 2014).
  value += 0x9E3779B97F4A7C15U;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9U;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBU;
  return value ^ (value >> 31);
}

// FNV-1a over the name's bytes, its length last so that ("ab", "c") and ("a", "bc") differ.
std::uint64_t HashName(std::string_view name) {
  std::uint64_t hash = 0xCBF29CE484222325U;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3U;
  return Mix(hash ^ Mix(name.size()));
}

}  // namespace

RngStream::RngStream(std::uint64_t seed) : key_(Mix(seed)) {}

RngStream RngStream::Child(std::string_view purpose, std::uint64_t index) const {
  return {Mix(Mix(key_ ^ HashName(purpose)) + Mix(index)), 0};
}

RngStream RngStream::Child(std::string_view purpose, std::string_view name) const {
  return Child(purpose, HashName(name));
}

void RngStream::Refill() {
  block_ = internal::Philox(
      {static_cast<std::uint32_t>(counter_), static_cast<std::uint32_t>(counter_ >> 32), 0, 0},
      {static_cast<std::uint32_t>(key_), static_cast<std::uint32_t>(key_ >> 32)});
  ++counter_;
  used_ = 0;
}

std::uint32_t RngStream::NextU32() {
  if (used_ == 4) Refill();
  return block_[used_++];
}

std::uint64_t RngStream::NextU64() {
  const std::uint64_t low = NextU32();
  return low | (static_cast<std::uint64_t>(NextU32()) << 32);
}

float RngStream::Uniform() {
  return static_cast<float>(NextU32() >> 8) * 0x1.0p-24F;
}

double RngStream::UniformDouble() {
  return static_cast<double>(NextU64() >> 11) * 0x1.0p-53;
}

std::uint64_t RngStream::UniformInteger(std::uint64_t bound) {
  FL_CHECK(bound >= 1, "a range of integers has at least one");
  // Lemire 2019, arXiv:1805.10941.
  __extension__ using Wide = unsigned __int128;
  const std::uint64_t threshold = (0 - bound) % bound;
  while (true) {
    const Wide product = static_cast<Wide>(NextU64()) * bound;
    if (static_cast<std::uint64_t>(product) >= threshold)
      return static_cast<std::uint64_t>(product >> 64);
  }
}

// Marsaglia's polar method (1964): only log and sqrt. sqrt is exact everywhere; log is the C
// library's, whose double result is rounded to float, so that libraries differ by at most one float
// ulp, and then rarely.
float RngStream::Normal() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_;
  }
  while (true) {
    const double u = 2.0 * UniformDouble() - 1.0;
    const double v = 2.0 * UniformDouble() - 1.0;
    const double s = u * u + v * v;
    if (s >= 1.0 || s == 0.0) continue;
    const double factor = std::sqrt(-2.0 * std::log(s) / s);
    spare_ = static_cast<float>(v * factor);
    has_spare_ = true;
    return static_cast<float>(u * factor);
  }
}

double RngStream::Gamma(double shape) {
  FL_CHECK(shape > 0, "a Gamma distribution has a positive shape");
  if (shape < 1.0) {
    const double boost = Gamma(shape + 1.0);
    double u = UniformDouble();
    while (u == 0.0) u = UniformDouble();
    return boost * std::pow(u, 1.0 / shape);
  }
  const double d = shape - 1.0 / 3.0;
  const double c = 1.0 / std::sqrt(9.0 * d);
  while (true) {
    const double x = static_cast<double>(Normal());
    const double root = 1.0 + c * x;
    if (root <= 0) continue;
    const double v = root * root * root;
    const double u = UniformDouble();
    if (u > 0 && std::log(u) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

void RngStream::FillNormal(std::span<float> out) {
  for (float& value : out) value = Normal();
}

void RngStream::FillUniform(std::span<float> out) {
  while (!out.empty() && used_ < block_.size()) {
    out[0] = Uniform();
    out = out.subspan(1);
  }
  const std::size_t whole = out.size() - out.size() % block_.size();
  kernels::FillUniformBlocks(key_, counter_, out.first(whole));
  counter_ += whole / block_.size();
  for (float& value : out.subspan(whole)) value = Uniform();
}

void RngStream::FillWords(std::span<std::uint32_t> out) {
  while (!out.empty() && used_ < block_.size()) {
    out[0] = NextU32();
    out = out.subspan(1);
  }
  const std::size_t whole = out.size() - out.size() % block_.size();
  kernels::FillWordBlocks(key_, counter_, out.first(whole));
  counter_ += whole / block_.size();
  for (std::uint32_t& word : out.subspan(whole)) word = NextU32();
}

}  // namespace fl
