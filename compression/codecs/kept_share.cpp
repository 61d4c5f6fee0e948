#include "fl/compression/codecs/kept_share.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>

namespace fl {
namespace {

constexpr std::uint32_t kWarmupMax = 10000;

std::size_t CountOf(double share, std::size_t count) {
  const auto kept = static_cast<std::size_t>(std::ceil(share * static_cast<double>(count)));
  return std::clamp<std::size_t>(kept, 1, count);
}

double Power(double base, std::uint32_t exponent) {
  double power = 1;
  for (std::uint32_t bits = exponent; bits > 0; bits >>= 1) {
    if ((bits & 1U) != 0) power *= base;
    base *= base;
  }
  return power;
}

// "P%" as a share in (0, 1].
std::optional<double> ParseShare(std::string_view text) {
  if (!text.ends_with('%')) return std::nullopt;
  const auto percent = ParseNumber<double>(text.substr(0, text.size() - 1));
  if (!percent || !(*percent > 0) || *percent > 100) return std::nullopt;
  return *percent / 100;
}

Result<> ReadWarmup(const Stage& stage, const StageOptions& options, KeptShare& kept) {
  const std::string* warmup = options.Find("warmup");
  const std::string* from = options.Find("from");
  if (warmup == nullptr) {
    if (from == nullptr) return {};
    return RefuseStage(stage, "from= is where a warm-up begins: expected warmup=N beside it");
  }
  const auto rounds = ParseNumber<std::uint32_t>(*warmup);
  if (!rounds || *rounds < 1 || *rounds > kWarmupMax) {
    return RefuseStage(stage, "warmup: expected 1 to " + std::to_string(kWarmupMax) +
                                  " rounds, found \"" + *warmup + "\"");
  }
  const auto begin = from == nullptr ? std::optional<double>(kept.from) : ParseShare(*from);
  if (!begin) {
    return RefuseStage(
        stage,
        "from: expected the share that round 1 keeps, such as from=25%, found \"" + *from + "\"");
  }
  if (*begin < kept.share) {
    return RefuseStage(stage,
                       "a warm-up falls to the share that is kept: expected from=P% of at "
                       "least that share (25% when it is left out), or no warmup");
  }
  kept.warmup = *rounds;
  kept.from = *begin;
  kept.SetFactor();
  return {};
}

}  // namespace

double ExactRoot(double value, std::uint32_t degree) {
  double low = 0;
  double high = 1;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (Power(middle, degree) < value ? low : high) = middle;
  }
  return high;
}

void KeptShare::SetFactor() {
  factor = warmup > 0 ? ExactRoot(share / from, warmup) : 1;
}

double KeptShare::AtRound(std::uint64_t round) const {
  if (round == 0 || round > warmup) return share;
  return std::clamp(from * Power(factor, static_cast<std::uint32_t>(round - 1)), share, from);
}

std::size_t KeptShare::CountAtRound(std::uint64_t round, std::size_t count) const {
  return CountOf(AtRound(round), count);
}

std::size_t KeptShare::LargestCount(std::size_t count) const {
  return CountOf(Largest(), count);
}

Result<KeptShare> ReadTopK(const Stage& stage) {
  constexpr std::array<std::string_view, 2> kKnown = {"warmup", "from"};
  FL_TRY(const StageOptions options, StageOptions::Read(stage, kKnown));
  FL_TRY(const double share, ReadShare(stage));
  KeptShare kept{.share = share};
  FL_TRY_OK(ReadWarmup(stage, options, kept));
  return kept;
}

}  // namespace fl
