#include "fl/compression/rate/candidates.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <functional>

#include "fl/compression/codecs/factorize.h"

namespace fl::rate {
namespace {

constexpr double kHeadBits = 48;      // The choice, the step and the code's own.
constexpr double kLevelMax = 32000;   // A little less than the codes' largest level.
constexpr double kDecodeBits = 1e-5;  // What decoding a value costs the server, for each rank.
constexpr int kFactorSteps = 9;       // Down to an eighth.
constexpr double kFactorStep = 2;     // The largest of low rank, in root mean squares.

double BinaryEntropy(double p) {
  return p <= 0 || p >= 1 ? 0 : -p * std::log2(p) - (1 - p) * std::log2(1 - p);
}

// How many magnitudes of which size there are, from the largest down.
class Histogram {
 public:
  explicit Histogram(std::span<const float> values) {
    for (const float value : values) {
      const auto size = static_cast<double>(std::fabs(value));
      Bin& bin = bins_[(std::bit_cast<std::uint32_t>(value) & 0x7FFFFFFFU) >> 20U];
      ++bin.count;
      bin.sum += size;
      bin.energy += size * size;
      largest_ = std::max(largest_, size);
      energy_ += size * size;
    }
    count_ = static_cast<double>(values.size());
  }

  double count() const { return count_; }
  double energy() const { return energy_; }
  double largest() const { return largest_; }
  double rms() const { return std::sqrt(energy_ / count_); }

  // Levels of a grid of that step, zero below `threshold`, both as the values are.
  Candidate Levels(double step, double threshold) const {
    double nonzero = 0;
    double lost = 0;
    double bits = 0;
    Group group;
    for (std::size_t i = kBins; i-- > 0;) {
      const Bin& bin = bins_[i];
      if (bin.count == 0) continue;
      const double mean = bin.sum / bin.count;
      if (mean < threshold) {
        lost += bin.energy;
        continue;
      }
      const double width = Edge(i + 1) - Edge(i);
      const double level = std::max(1.0, std::floor(mean / step + 0.5));
      if (level != group.level) bits += CloseGroup(group);
      group.level = level;
      group.count += bin.count;
      bits += bin.count * (1 + std::max(0.0, std::log2(width / step)));
      lost += std::min(bin.energy, bin.count * step * step / 12);
      nonzero += bin.count;
    }
    bits += CloseGroup(group);
    if (nonzero < count_) bits += (count_ - nonzero) * std::log2(count_ / (count_ - nonzero));
    return {{}, bits, std::min(1.0, lost / energy_)};
  }

  // The largest magnitudes, `kept` of them, each as their mean.
  Candidate Ternary(double kept) const {
    double left = kept;
    double sum = 0;
    for (std::size_t i = kBins; i-- > 0 && left > 0;) {
      const Bin& bin = bins_[i];
      if (bin.count == 0) continue;
      const double taken = std::min(left, bin.count);
      sum += bin.sum * taken / bin.count;
      left -= taken;
    }
    const double bits = count_ * BinaryEntropy(kept / count_) + kept;
    return {{}, bits, 1 - std::min(1.0, sum * sum / kept / energy_)};
  }

 private:
  static constexpr std::size_t kBins = 2048;
  struct Bin {
    double count = 0;
    double sum = 0;
    double energy = 0;
  };
  struct Group {
    double level = 0;
    double count = 0;
  };

  // The least magnitude of a bin.
  static double Edge(std::size_t bin) {
    return static_cast<double>(
        std::bit_cast<float>(static_cast<std::uint32_t>(std::min<std::size_t>(bin, 0x7F7) << 20U)));
  }
  double CloseGroup(Group& group) const {
    const double bits = group.count > 0 ? group.count * std::log2(count_ / group.count) : 0;
    group = {};
    return bits;
  }

  std::array<Bin, kBins> bins_{};
  double count_ = 0;
  double energy_ = 0;
  double largest_ = 0;
};

void AddLevels(const Histogram& histogram, double step_min, std::vector<Candidate>& all) {
  const double decode = kDecodeBits * histogram.count();
  const auto add = [&](AdaptiveChoice choice, double parameter, Candidate candidate) {
    candidate.setting = AdaptiveSetting{choice, parameter};
    candidate.bits += kHeadBits + decode;
    all.push_back(candidate);
  };
  const double rms = histogram.rms();
  // Half of root mean squares and up; the coarsest is 90.
  for (int i = 0; i < 16; ++i) {
    const double step = std::exp2(0.5 * i - 1);
    const double zero = std::clamp(0.5 + 0.04 * step, 0.5, 0.8);
    add(AdaptiveChoice::kDeadZone, step, histogram.Levels(step * rms, zero * step * rms));
  }
  // And down, to 0.001.
  for (int i = 0; i < 18; ++i) {
    const double step = std::exp2(-0.5 * i - 1);
    if (step < step_min) break;
    add(AdaptiveChoice::kQuantize, step, histogram.Levels(step * rms, 0.5 * step * rms));
  }
  const auto kept_max = static_cast<std::size_t>(0.3 * histogram.count());
  for (std::size_t kept = 1; kept <= kept_max; kept += (kept + 1) / 2) {
    const auto number = static_cast<double>(kept);
    add(AdaptiveChoice::kTopK, number / histogram.count(), histogram.Ternary(number));
  }
  Candidate raw{AdaptiveSetting{AdaptiveChoice::kRaw, 0}, 0, 0};
  raw.bits = 8 + 32 * histogram.count() + decode;
  all.push_back(raw);
}

// Bits of a level and the share of a factor's energy that is kept, normal values in a uniform grid
// of a step in root mean squares: by numeric integration, as there are but few steps.
struct GridModel {
  double bits = 0;
  double kept = 0;
};
GridModel NormalGrid(double step) {
  GridModel model;
  constexpr int kSlices = 1536;  // Up to six root mean squares.
  constexpr double kSlice = 1.0 / 256;
  double level = 0;
  double chance = 0;
  for (int i = 0; i < kSlices; ++i) {
    const double x = (i + 0.5) * kSlice;
    const double density = std::exp(-0.5 * x * x) / std::sqrt(2 * M_PI) * kSlice;
    const double of_x = std::floor(x / step + 0.5);
    if (of_x != level) {
      const double both = level == 0 ? 2 * chance : chance;
      model.bits -= (level == 0 ? 1 : 2) * both * std::log2(both);
      level = of_x;
      chance = 0;
    }
    chance += density;
    model.kept += 2 * density * (x * x - (x - level * step) * (x - level * step));
  }
  if (chance > 0) model.bits -= 2 * chance * std::log2(chance);
  return model;
}

// Shares of the energy along the leading directions, the largest first.
std::vector<double> LeadingShares(const AdaptiveCodec& codec, std::span<const float> values,
                                  double energy, unsigned rank, const RngStream& rng) {
  const internal::MatrixView matrix{values, codec.rows(), codec.columns()};
  const auto left = internal::LeadingLeftVectors(matrix, rank, 2, rng);
  const auto right = internal::FitRight(matrix, left, rank);
  std::vector<double> shares(rank);
  for (std::size_t i = 0; i < right.size(); ++i) {
    const auto value = static_cast<double>(right[i]);
    shares[i / matrix.columns] += value * value / energy;
  }
  std::ranges::sort(shares, std::greater());
  return shares;
}

void AddLowRank(const AdaptiveCodec& codec, std::span<const float> values, double energy,
                double bits_max, const RngStream& rng, std::vector<Candidate>& all) {
  const auto sides = static_cast<double>(codec.rows() + codec.columns());
  const auto affordable = static_cast<unsigned>(std::clamp(bits_max / sides, 1.0, 64.0));
  const unsigned rank_max = std::min(codec.rank_max(), affordable);
  const std::vector<double> shares = LeadingShares(codec, values, energy, rank_max, rng);
  const auto decode = kDecodeBits * static_cast<double>(codec.count());
  for (int i = 0; i < kFactorSteps; ++i) {
    const double step = kFactorStep * std::exp2(-0.5 * i);
    const GridModel grid = NormalGrid(step);
    double along = 0;
    for (unsigned rank = 1; rank <= rank_max; ++rank) {
      along += shares[rank - 1];
      Candidate candidate{AdaptiveSetting{LowRankChoice(rank), step}};
      candidate.bits = 16 + rank * (8 + grid.bits * sides + decode);
      const double lost = std::clamp(1 - along * grid.kept * grid.kept, 0.0, 1.0);
      candidate.lost = std::pow(lost, std::max(1.0, step));
      all.push_back(candidate);
    }
  }
}

}  // namespace

Candidates FindCandidates(const AdaptiveCodec& codec, std::span<const float> values,
                          double bits_max, const RngStream& rng) {
  Candidates found;
  found.all.push_back({});
  const Histogram histogram(values);
  if (!(histogram.energy() > 0)) return found;
  const bool matrix = codec.rank_max() > 1;
  found.weight = matrix ? static_cast<double>(codec.rows() + codec.columns()) : histogram.count();
  found.step_min = histogram.largest() / histogram.rms() / kLevelMax;
  AddLevels(histogram, found.step_min, found.all);
  if (matrix) AddLowRank(codec, values, histogram.energy(), bits_max, rng, found.all);
  return found;
}

}  // namespace fl::rate
