#include <array>
#include <optional>
#include <string>

#include "fl/benchmarks/codec_data.h"
#include "fl/benchmarks/codecs.h"
#include "fl/common/base/check.h"
#include "fl/common/tensor/kernels/axpy.h"
#include "fl/compression/codecs/largest_magnitudes.h"

namespace fl::bench {
namespace {

std::unique_ptr<ParsedPayload> ParseOwn(const Codec& codec, ByteSpan payload) {
  auto parsed = codec.Parse(payload, {codec.InitialParameters()}, {});
  FL_CHECK(parsed.has_value(), "what Encode writes is what Parse accepts");
  return std::move(parsed).value();
}

// A recipe, and what its encoder and decoder must reach.
struct SpeedCase {
  std::string_view recipe;
  std::optional<Bar> encode;
  std::optional<Bar> add;
};

bool IsWanted(const CodecsConfig& config, std::string_view recipe) {
  return recipe.find(config.only) != std::string_view::npos;
}

// As shares of axpy's speed over the same values.
std::vector<SpeedCase> DenseCases() {
  const auto at_least = [](double bar) { return Bar::AtLeast(bar); };
  return {{"raw", at_least(0.9), at_least(0.9)},
          {"fp16", at_least(0.9), at_least(0.9)},
          {"bf16", at_least(0.9), at_least(0.9)},
          {"natural", std::nullopt, std::nullopt},
          {"quantize 1", std::nullopt, at_least(1)},
          {"quantize 2", std::nullopt, at_least(1)},
          {"quantize 3", std::nullopt, at_least(1)},
          {"quantize 4", std::nullopt, at_least(1)},
          {"quantize 5", std::nullopt, at_least(1)},
          {"quantize 6", std::nullopt, at_least(1)},
          {"quantize 7", std::nullopt, at_least(1)},
          {"quantize 8", at_least(1), at_least(1)},
          {"quantize 2 stochastic", at_least(0.4), at_least(0.9)},
          {"quantize 4 stochastic", at_least(0.4), at_least(0.9)},
          {"quantize 4 per=group:128", std::nullopt, std::nullopt},
          {"quantize 4 scale=shared range=4 stochastic", at_least(0.3), at_least(0.3)},
          {"lloyd 4", std::nullopt, std::nullopt},
          {"hadamard 1024 | quantize 4", at_least(0.5), std::nullopt},
          {"eden 1", at_least(0.35), at_least(0.35)},
          {"eden 4", at_least(0.35), at_least(0.35)},
          {"low_rank 2 | quantize 4", std::nullopt, std::nullopt}};
}

// In millions of values a second: 250 of them are a GB/s of fp32.
std::vector<SpeedCase> CodedCases() {
  const auto at_least = [](double bar) { return Bar::AtLeast(bar); };
  return {{"top_k 1% | ternary | context", at_least(250), at_least(250)},
          {"top_k 1% | ternary | rice", at_least(250), at_least(4000)},
          {"top_k 1% | ternary | trits", std::nullopt, std::nullopt},
          {"quantize 2 | trits", std::nullopt, std::nullopt},
          {"dead_zone 4 | context", at_least(250), at_least(250)},
          {"dead_zone 1 | context", at_least(30), at_least(30)},
          {"dead_zone 1 | rans", at_least(250), at_least(350)},
          {"quantize 4 | rans", at_least(250), at_least(350)}};
}

struct Speed {
  double rate = 0;   // Values a second.
  double share = 0;  // Of axpy's speed, pass by pass: what else the machine does cancels.
};

struct Speeds {
  Speed encode;
  Speed encode_and_see;  // With what a decoder will see, as a client with a residual asks.
  Speed parse;
  Speed add;
};

// Each pass measures axpy beside the codec, so that the shares hold on a busy machine.
Speeds MeasureSpeeds(std::string_view recipe, const Matrices& matrix, std::size_t repeats) {
  const std::span<const float> values = matrix.values[0];
  const auto codec = MakeCodec(recipe, matrix.shapes[0]);
  std::vector<float> sum(values.size());
  std::vector<float> decoded(values.size());
  std::array<std::vector<double>, 4> seconds;
  std::array<std::vector<double>, 4> shares;
  ByteWriter out;  // Its memory is kept, as a sender's is.
  for (std::size_t pass = 0; pass < repeats + 1; ++pass) {
    const auto encode = [&](std::span<float> seen) {
      out.bytes().clear();
      codec->Encode(values, seen, {codec->InitialParameters()}, RngStream(pass), out);
    };
    std::unique_ptr<ParsedPayload> parsed;
    const double axpy = Seconds([&] { kernels::Axpy(0.5F, values, sum); });
    const std::array<double, 4> taken = {Seconds([&] { encode({}); }),
                                         Seconds([&] { encode(decoded); }),
                                         Seconds([&] { parsed = ParseOwn(*codec, out.bytes()); }),
                                         Seconds([&] { AddInBlocks(*codec, *parsed, 0.5F, sum); })};
    for (std::size_t i = 0; pass > 0 && i < taken.size(); ++i) {  // The first warms up.
      seconds[i].push_back(taken[i]);
      shares[i].push_back(axpy / taken[i]);
    }
  }
  const auto speed = [&](std::size_t i) {
    return Speed{static_cast<double>(values.size()) / Median(seconds[i]), Median(shares[i])};
  };
  return {speed(0), speed(1), speed(2), speed(3)};
}

// Distinct payloads of a recipe over values of one shape.
std::vector<Bytes> MakePayloads(const Codec& codec, std::size_t payloads, std::uint64_t seed) {
  std::vector<Bytes> made;
  std::vector<float> values(codec.count());
  std::vector<float> decoded(codec.count());
  for (std::size_t i = 0; i < payloads; ++i) {
    RngStream(seed).Child("update", i).FillNormal(values);
    ByteWriter out;
    codec.Encode(values, decoded, {codec.InitialParameters()}, RngStream(i), out);
    made.push_back(std::move(out).Take());
  }
  return made;
}

// The fold's way: every payload is parsed, then block by block each update's values are added.
double FoldSeconds(const Codec& codec, std::span<const Bytes> payloads, std::size_t updates) {
  std::vector<float> sum(codec.count());
  return Seconds([&] {
    std::vector<std::unique_ptr<ParsedPayload>> parsed;
    for (std::size_t i = 0; i < updates; ++i)
      parsed.push_back(ParseOwn(codec, payloads[i % payloads.size()]));
    for (std::size_t at = 0; at < sum.size(); at += kFoldBlock) {
      const auto block = std::span(sum).subspan(at, std::min(kFoldBlock, sum.size() - at));
      for (const auto& one : parsed) codec.DecodeAdd(*one, at, 0.5F, block);
    }
  });
}

}  // namespace

void AddSpeedRows(const CodecsConfig& config, Report& report) {
  const Matrices matrix = NormalMatrix(config.side, config.side, config.conditions.seed);
  std::vector<float> copy(matrix.values[0].size());
  const auto gigabytes = [&](double seconds) {
    return 4e-9 * static_cast<double>(copy.size()) / seconds;
  };
  const std::size_t repeats = config.conditions.repeats;
  report.Add(
      {"codecs/axpy",
       gigabytes(MedianSeconds(repeats, [&] { kernels::Axpy(0.5F, matrix.values[0], copy); })),
       "GB/s of fp32", std::nullopt, "the same values"});
  report.Add({"codecs/memcpy",
              gigabytes(MedianSeconds(repeats,
                                      [&] { std::ranges::copy(matrix.values[0], copy.begin()); })),
              "GB/s of fp32", std::nullopt, "the same values"});
  for (const SpeedCase& one : DenseCases()) {
    if (!IsWanted(config, one.recipe)) continue;
    const Speeds speeds = MeasureSpeeds(one.recipe, matrix, repeats);
    const std::string name = "codecs/" + std::string(one.recipe);
    const auto add = [&](std::string_view what, const Speed& speed, std::optional<Bar> bar) {
      report.Add({name + std::string(what), speed.share, "x axpy", bar, "axpy beside it"});
    };
    add("/encode", speeds.encode, one.encode);
    add("/encode and see", speeds.encode_and_see, std::nullopt);
    add("/parse", speeds.parse, std::nullopt);
    add("/add", speeds.add, one.add);
  }
  for (const SpeedCase& one : CodedCases()) {
    if (!IsWanted(config, one.recipe)) continue;
    const Speeds speeds = MeasureSpeeds(one.recipe, matrix, repeats);
    const std::string name = "codecs/" + std::string(one.recipe);
    const auto add = [&](std::string_view what, const Speed& speed, std::optional<Bar> bar) {
      report.Add({name + std::string(what), 1e-6 * speed.rate, "million values/s", bar,
                  "the thread's time"});
    };
    add("/encode", speeds.encode, one.encode);
    add("/encode and see", speeds.encode_and_see, std::nullopt);
    add("/parse", speeds.parse, std::nullopt);
    add("/add", speeds.add, one.add);
  }
}

void AddSelectRow(const CodecsConfig& config, Report& report) {
  const Matrices matrix = NormalMatrix(config.side, config.side, config.conditions.seed);
  const std::span<const float> values = matrix.values[0];
  const double seconds = MedianSeconds(config.conditions.repeats, [&] {
    return internal::LargestMagnitudes(values, values.size() / 100);
  });
  report.Add({"codecs/top_k 1%/select exactly", 1e3 * seconds, "ms", Bar::AtMost(10),
              "the thread's time, " + std::to_string(values.size()) + " values"});
}

void AddFoldRows(const CodecsConfig& config, Report& report) {
  constexpr std::size_t kUpdates = 1000;
  constexpr std::size_t kDistinct = 20;
  const std::size_t rows = std::min<std::size_t>(config.side, 1000);
  for (const auto& [entropy, bar] : {std::pair<std::string, double>{"rice", 150},
                                     std::pair<std::string, double>{"context", 4000}}) {
    if (!IsWanted(config, "top_k 1% | ternary | " + entropy)) continue;
    const auto codec = MakeCodec("top_k 1% | ternary | " + entropy, Shape{rows, 1000});
    const auto payloads = MakePayloads(*codec, kDistinct, config.conditions.seed);
    std::vector<double> seconds;
    for (std::size_t pass = 0; pass < config.conditions.repeats; ++pass)
      seconds.push_back(FoldSeconds(*codec, payloads, kUpdates));
    report.Add({"codecs/fold 1000 updates, top_k 1% | ternary | " + entropy,
                1e3 * Median(std::move(seconds)), "ms", Bar::AtMost(bar),
                "Parse and DecodeAdd of " + std::to_string(codec->count()) + " values"});
  }
}

}  // namespace fl::bench
