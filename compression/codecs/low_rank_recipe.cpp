// What a recipe says of low_rank, read and checked.
#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string>

#include "fl/common/base/byte_count.h"
#include "fl/compression/codecs/low_rank.h"
#include "fl/compression/codecs/low_rank_shared.h"
#include "fl/compression/codecs/quantize.h"

namespace fl {
namespace {

constexpr std::array<std::string_view, 5> kOptions = {"iterations", "basis", "energy", "bytes",
                                                      "max"};

// A rank, energy=E% or bytes=N; max=R with either of these.
Result<> ReadRank(const Stage& stage, const StageOptions& options, LowRankConfig& config) {
  const std::string* energy = options.Find("energy");
  const std::string* bytes = options.Find("bytes");
  const std::string* most = options.Find("max");
  const int ways =
      (stage.arguments.empty() ? 0 : 1) + (energy != nullptr ? 1 : 0) + (bytes != nullptr ? 1 : 0);
  if (ways > 1 || (most != nullptr && !stage.arguments.empty()))
    return RefuseStage(stage,
                       "expected one of a rank, energy=E% and bytes=N; max= is for those two");
  if (energy != nullptr) {
    const auto percent = energy->ends_with('%')
                             ? ParseNumber<double>(energy->substr(0, energy->size() - 1))
                             : std::nullopt;
    if (!percent || !(*percent > 0 && *percent < 100))
      return RefuseStage(stage,
                         "energy: expected a share between 0% and 100%, found \"" + *energy + "\"");
    config.energy = *percent / 100;
  }
  if (bytes != nullptr) {
    const auto count = ParseByteCount(*bytes);
    if (!count || *count < 16 || *count > 1'000'000'000)
      return RefuseStage(stage,
                         "bytes: expected 16 bytes to 1GB, such as 2KB, found \"" + *bytes + "\"");
    config.bytes = *count;
  }
  const bool chosen = energy != nullptr || bytes != nullptr;
  std::optional<unsigned> rank = chosen ? std::optional<unsigned>(32) : std::nullopt;
  if (chosen && most != nullptr) rank = ParseNumber<unsigned>(*most);
  if (stage.arguments.size() == 1) rank = ParseNumber<unsigned>(stage.arguments.front());
  if (!rank || *rank < 1 || *rank > kLowRankMax)
    return RefuseStage(stage, chosen ? "max: expected a rank of 1 to 64"
                                     : "expected a rank of 1 to 64, such as low_rank 2");
  config.rank = *rank;
  return {};
}

Result<LowRankConfig> ReadLowRank(const Stage& stage) {
  LowRankConfig config;
  FL_TRY(const StageOptions options, StageOptions::Read(stage, kOptions));
  FL_TRY_OK(ReadRank(stage, options, config));
  if (const std::string* text = options.Find("iterations")) {
    const auto iterations = ParseNumber<unsigned>(*text);
    if (!iterations || *iterations < 1 || *iterations > 8) {
      return RefuseStage(stage, "iterations: expected 1 to 8, found \"" + *text + "\"");
    }
    config.iterations = *iterations;
  }
  return config;
}

// Whether the stage asks for a shared basis, and for nothing that does not go with one.
Result<bool> ReadBasis(const Stage& stage) {
  FL_TRY(const StageOptions options, StageOptions::Read(stage, kOptions));
  const std::string* basis = options.Find("basis");
  if (basis == nullptr || *basis == "own") return false;
  if (*basis != "shared")
    return RefuseStage(stage, "basis: expected own or shared, found \"" + *basis + "\"");
  for (const char* key : {"energy", "bytes", "max"}) {
    if (options.Find(key) == nullptr) continue;
    return RefuseStage(stage, std::string(key) +
                                  "= with basis=shared: all clients send as many directions as the "
                                  "basis has; expected a rank, such as low_rank 6 basis=shared");
  }
  if (options.Find("iterations") != nullptr) {
    return RefuseStage(stage,
                       "iterations= with basis=shared: each round is half of one; leave it out");
  }
  return true;
}

Result<float> ReadStep(const Stage& stage) {
  constexpr std::array<std::string_view, 1> kKnown = {"step"};
  FL_TRY(const StageOptions options, StageOptions::Read(stage, kKnown));
  const auto step = ParseNumber<float>(*options.Find("step"));
  if (!stage.arguments.empty() || !step || !(*step >= 0.1F && *step <= 8.0F)) {
    return RefuseStage(stage,
                       "after low_rank: expected quantize step=0.1 to step=8, in units of a "
                       "factor's root mean square, and nothing else");
  }
  return *step;
}

// What writes the factors.
Result<> ReadFactors(const Chain& chain, const Shape& shape, LowRankConfig& config) {
  const Stage* values = chain.values;
  const bool quantize = values != nullptr && values->name == "quantize";
  const bool coded =
      quantize && !values->options.empty() && values->options.front().first == "step";
  if (chain.entropy != nullptr && (chain.entropy->name == "pack") == coded) {
    return RefuseStage(*chain.entropy,
                       "after low_rank the levels of quantize step=X are coded by context, all "
                       "other factors are packed: use low_rank 6 | quantize step=2");
  }
  if (coded) {
    FL_TRY(config.step, ReadStep(*values));
    return {};
  }
  if (quantize) {
    FL_TRY(const QuantizeStage grid, ReadQuantize(*values));
    if (grid.shared) {
      return RefuseStage(*values,
                         "scale=shared after low_rank: only levels of the tensor's own values can "
                         "be summed, and those of factors are not; leave it out");
    }
    if (grid.per_channel) {
      return RefuseStage(*values, "per=channel after low_rank: each direction has a grid already");
    }
    if (values->arguments.size() == 1 && grid.group == 0 && grid.config.bits > 1) {
      config.factor_bits = grid.config.bits;
      return {};
    }
  }
  if (values != nullptr && (values->name == "dead_zone" || values->name == "ternary")) {
    return RefuseStage(*values,
                       "cannot write factors: use quantize step=2, whose levels are as few");
  }
  // A factor's rows are whole, unlike a list of kept values.
  FL_TRY(config.factors, BuildValueCoder(values, shape, false));
  return {};
}

Result<std::unique_ptr<Codec>> BuildShared(const Chain& chain, const Shape& shape,
                                           LowRankConfig config, std::size_t parameters_offset) {
  const std::size_t columns = shape[shape.rank() - 1];
  const std::size_t smaller = std::min(columns, shape.count() / columns);
  if (config.rank >= smaller) {
    return RefuseStage(
        *chain.shape, "basis=shared: expected a rank below " + std::to_string(smaller) +
                          ", the smaller side of this tensor, found " +
                          std::to_string(config.rank) + "; give small tensors a rule of their own");
  }
  // Levels, too, are values of a direction here: a factor that nothing is fitted to.
  if (config.factor_bits > 0) {
    FL_TRY(config.factors, BuildValueCoder(chain.values, shape, false));
  }
  LowRankSharedConfig shared{.rank = config.rank,
                             .step = config.step,
                             .factors = std::move(config.factors),
                             .initial = 1 + std::uint64_t{parameters_offset},
                             .parameters_offset = parameters_offset};
  return std::unique_ptr<Codec>(std::make_unique<LowRankShared>(std::move(shared), shape));
}

}  // namespace

Result<std::unique_ptr<Codec>> BuildLowRank(const Chain& chain, const Shape& shape,
                                            std::size_t parameters_offset) {
  FL_TRY(const bool shared, ReadBasis(*chain.shape));
  FL_TRY(LowRankConfig config, ReadLowRank(*chain.shape));
  if (shape.rank() < 2) {
    return RefuseStage(*chain.shape,
                       "needs a matrix or a convolution's kernel, found a vector of " +
                           std::to_string(shape.count()) +
                           " values; give vectors a rule of their own");
  }
  FL_TRY_OK(ReadFactors(chain, shape, config));
  if (shared) return BuildShared(chain, shape, std::move(config), parameters_offset);
  const bool coded = config.step > 0;
  const std::size_t bytes = config.bytes;
  auto codec = std::make_unique<LowRank>(std::move(config), shape);
  if (bytes > 0 && !coded && 1 + codec->FactorBytes(1) > bytes) {
    return RefuseStage(*chain.shape, "bytes: one direction of this tensor takes " +
                                         std::to_string(1 + codec->FactorBytes(1)) +
                                         " bytes; expected that many, or quantize step=2");
  }
  return std::unique_ptr<Codec>(std::move(codec));
}

}  // namespace fl
