#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>

#include "fl/benchmarks/codec_data.h"
#include "fl/benchmarks/codecs.h"
#include "fl/common/wire/update.h"
#include "fl/compression/entropy/level_code.h"

namespace fl::bench {
namespace {

constexpr std::size_t kSide = 1024;  // Of the matrices here: 2^20 values.

std::string Digits(double value) {
  std::string text = std::to_string(value);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

std::string DeadZone(double step) {
  return "dead_zone " + std::to_string(step) + " | context";
}

// The dead zone whose `measure` (falling as the step grows where `falls`) is as near `target` as
// sixteen halvings of the step's range bring it.
template <typename Measure>
Coded AtTarget(const Matrices& matrices, std::uint64_t seed, bool falls, double target,
               Measure measure) {
  double low = std::log(0.02);
  double high = std::log(20.0);
  for (int halving = 0; halving < 16; ++halving) {
    const double middle = (low + high) / 2;
    const double measured = measure(Code(DeadZone(std::exp(middle)), matrices, seed));
    ((measured > target) == falls ? low : high) = middle;
  }
  return Code(DeadZone(std::exp(falls ? high : low)), matrices, seed);
}

struct RatePoint {
  double bits = 0;
  double nmse = 0;
};

// The best entropy-coded scalar quantizers with an ideal code, from closed forms.
constexpr std::array<RatePoint, 4> kGaussRates = {
    {{0.5, 0.617}, {1, 0.348}, {2, 0.0889}, {4, 0.00556}}};
constexpr std::array<RatePoint, 6> kLaplaceRates = {
    {{0.1, 0.8308}, {0.25, 0.6707}, {0.5, 0.4860}, {1, 0.2618}, {2, 0.0729}, {4, 0.00479}}};

void AddRateRows(const std::string& source, std::span<const RatePoint> points,
                 const Matrices& matrices, const CodecsConfig& config, Report& report) {
  for (const RatePoint& point : points) {
    const Coded coded = AtTarget(matrices, config.conditions.seed, true, point.bits,
                                 [](const Coded& tried) { return tried.bits; });
    report.Add({"codecs/dead_zone+context/" + source + " at " + Digits(point.bits) + " bit",
                10 * std::log10(coded.nmse / point.nmse), "dB", Bar::AtMost(0.15),
                "ECSQ with an ideal code, NMSE " + Digits(point.nmse)});
  }
}

// EDEN's error and its size on shapes that no power of two divides.
void AddEdenRows(const CodecsConfig& config, Report& report) {
  const Matrices normal = NormalMatrix(kSide, kSide, config.conditions.seed);
  for (const RatePoint& point :
       {RatePoint{1, 0.571}, RatePoint{2, 0.1331}, RatePoint{4, 0.00959}}) {
    const std::string recipe = "eden " + Digits(point.bits);
    const Coded coded = Code(recipe, normal, config.conditions.seed);
    report.Add({"codecs/" + recipe + "/NMSE", coded.nmse, "of the energy",
                Bar::Between(0.995 * point.nmse, 1.005 * point.nmse), "theory, D / (1 - D)"});
    double most = coded.bits;
    for (const auto& [rows, columns] :
         {std::pair<std::size_t, std::size_t>{784, 200}, {200, 199}, {333, 1001}}) {
      const Coded odd =
          Code(recipe, NormalMatrix(rows, columns, config.conditions.seed), config.conditions.seed);
      most = std::max(most, odd.bits);
    }
    report.Add({"codecs/" + recipe + "/most bits", most, "bits a value",
                Bar::AtMost(point.bits + 0.01), "shapes 1024x1024, 784x200, 200x199, 333x1001"});
  }
}

// Levels of a uniform grid over normal values.
std::vector<std::int32_t> NormalLevels(std::size_t count, float step, std::uint64_t seed) {
  const Matrices normal = NormalMatrix(1, count, seed);
  std::vector<std::int32_t> levels(count);
  for (std::size_t i = 0; i < count; ++i)
    levels[i] = static_cast<std::int32_t>(std::lround(normal.values[0][i] / step));
  return levels;
}

double EntropyBits(std::span<const std::int32_t> levels) {
  std::map<std::int32_t, double> counts;
  for (const std::int32_t level : levels) counts[level] += 1;
  double bits = 0;
  for (const auto& [level, count] : counts)
    bits -= count * std::log2(count / static_cast<double>(levels.size()));
  return bits;
}

void AddEntropyRow(LevelCode code, std::size_t count, float step, Bar bar,
                   const CodecsConfig& config, Report& report) {
  const auto levels = NormalLevels(count, step, config.conditions.seed);
  std::uint32_t max = 1;
  for (const std::int32_t level : levels)
    max = std::max(max, static_cast<std::uint32_t>(std::abs(level)));
  ByteWriter out;
  WriteLevels(code, levels, {.count = count, .columns = kSide, .max = max}, out);
  const double entropy = EntropyBits(levels);
  const double bits = entropy / static_cast<double>(count);
  char rate[32];
  std::snprintf(rate, sizeof(rate), "%.2f", bits);
  report.Add({std::string("codecs/") + (code == LevelCode::kRans ? "rans" : "context") + "/" +
                  std::to_string(count / 1024) + " Ki levels of " + rate + " bit",
              100 * (8 * static_cast<double>(out.size()) / entropy - 1), "% above", bar,
              "order-0 entropy of the same levels"});
}

// The recorded deltas' row for one error: how many bits bring it.
void AddRecordedRate(const Matrices& recorded, double nmse, double bits, const CodecsConfig& config,
                     Report& report) {
  const Coded coded = AtTarget(recorded, config.conditions.seed, false, nmse,
                               [](const Coded& tried) { return tried.nmse; });
  report.Add({"codecs/dead_zone+context/recorded, NMSE " + Digits(nmse), coded.bits, "bits a value",
              Bar::AtMost(bits), std::to_string(recorded.values.size()) + " recorded matrices"});
}

}  // namespace

void AddErrorRows(const CodecsConfig& config, Report& report) {
  const std::uint64_t seed = config.conditions.seed;
  AddRateRows("normal", kGaussRates, NormalMatrix(kSide, kSide, seed), config, report);
  AddRateRows("Laplace", kLaplaceRates, LaplaceMatrix(kSide, kSide, seed), config, report);
  AddEdenRows(config, report);
}

void AddEntropyRows(const CodecsConfig& config, Report& report) {
  constexpr std::size_t kLevels = 65536;
  for (const float step : {1.5F, 1.0F, 0.25F, 0.0625F}) {
    AddEntropyRow(LevelCode::kRans, kLevels, step, Bar::AtMost(0.5), config, report);
    AddEntropyRow(LevelCode::kRans, 16 * kLevels, step, Bar::AtMost(0.5), config, report);
  }
  for (const float step : {5.2F, 3.0F, 1.0F, 0.25F})
    AddEntropyRow(LevelCode::kContext, 16 * kLevels, step, Bar::AtMost(1.5), config, report);
}

Result<> AddRecordedRows(const CodecsConfig& config, Report& report) {
  if (config.recorded.empty()) {
    report.AddNote("no rows of recorded deltas: no folder of them was named");
    return {};
  }
  FL_TRY(const Matrices recorded, RecordedMatrices(config.recorded));
  AddRecordedRate(recorded, 0.36, 0.17, config, report);
  AddRecordedRate(recorded, 0.126, 0.49, config, report);
  for (const std::string share : {"1", "2", "4"}) {
    const std::string recipe = "top_k " + share + "% | ternary | ";
    const double context = Code(recipe + "context", recorded, config.conditions.seed).bits;
    const double rice = Code(recipe + "rice", recorded, config.conditions.seed).bits;
    report.Add({"codecs/context/recorded, top_k " + share + "%", 100 * (1 - context / rice),
                "% fewer bytes", Bar::AtLeast(8), "rice, " + Digits(rice) + " bits a value"});
  }
  return {};
}

void AddOverheadRows(const CodecsConfig& /*config*/, Report& report) {
  for (const std::size_t tensors : {std::size_t{1}, std::size_t{6}, std::size_t{200}}) {
    constexpr std::size_t kPayload = 2000;
    wire::Update update;
    update.task = TaskId{};
    update.examples = 600;
    update.streams.push_back({wire::kStreamDelta, {}});
    for (std::size_t i = 0; i < tensors; ++i)
      update.streams[0].entries.push_back({i, Bytes(kPayload)});
    const double payload = static_cast<double>(tensors * kPayload);
    const double allowed = 40 + 4 * static_cast<double>(tensors) + 0.01 * payload;
    report.Add({"codecs/envelope/" + std::to_string(tensors) + " tensors",
                static_cast<double>(wire::EncodeUpdate(update).size()) - payload, "bytes",
                Bar::AtMost(allowed), "payloads of 2000 bytes each"});
  }
}

}  // namespace fl::bench
