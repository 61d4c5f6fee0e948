#include "fl/compression/app/bench.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>

#include <nlohmann/json.hpp>

#include "fl/common/base/check.h"
#include "fl/common/tensor/kernels/axpy.h"
#include "fl/compression/app/encode_tensors.h"
#include "fl/compression/app/text_table.h"
#include "fl/compression/encode_segments.h"

namespace fl::codec_app {
namespace {

// The shortest of at least three passes, and as many more as fit the time.
template <typename Pass>
double ShortestPass(double seconds, Pass pass) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  double shortest = 1e9;
  for (int passes = 0; passes < 3 || Clock::now() < end; ++passes) {
    const auto begin = Clock::now();
    pass();
    shortest = std::min(shortest, std::chrono::duration<double>(Clock::now() - begin).count());
  }
  return shortest;
}

// What the three passes work on, allocated once.
struct Workplace {
  const SegmentPlan& plan;
  const NamedTensors& tensors;
  RoundParameters parameters;
  RngStream rng;
  std::vector<Bytes> payloads;
  std::vector<std::unique_ptr<ParsedPayload>> parsed;
  std::vector<float> sum;

  void Encode() {
    EncodeSegments(plan, tensors.values, parameters, rng, {{}, false}, [&](EncodedSegment segment) {
      payloads[segment.segment] = std::move(segment.payload);
    });
  }
  void Check() {
    for (std::size_t s = 0; s < payloads.size(); ++s) {
      auto checked = plan.segments()[s].codec->Parse(payloads[s], parameters, {});
      FL_CHECK(checked.has_value(), "what Encode writes is what Parse accepts");
      parsed[s] = std::move(checked).value();
    }
  }
  void Add() {
    std::size_t at = 0;
    for (std::size_t s = 0; s < parsed.size(); ++s) {
      const Codec& codec = *plan.segments()[s].codec;
      codec.DecodeAdd(*parsed[s], 0, 0.5F, std::span(sum).subspan(at, codec.count()));
      at += codec.count();
    }
  }
};

Workplace MakeWorkplace(const SegmentPlan& plan, const NamedTensors& tensors, std::uint64_t seed) {
  Workplace place{plan, tensors, plan.InitialRoundParameters(), RngStream(seed), {}, {}, {}};
  place.payloads.resize(plan.segments().size());
  place.parsed.resize(plan.segments().size());
  place.sum.resize(tensors.values.size());
  return place;
}

double MegabytesPerSecond(const BenchRow& row, double seconds) {
  return 4e-6 * static_cast<double>(row.count) / seconds;
}

}  // namespace

Result<BenchRow> Bench(const SegmentPlan& plan, const CompressionConfig& compression,
                       const NamedTensors& tensors, const BenchOptions& options) {
  FL_TRY(const EncodedTensors encoded, EncodeTensors(plan, compression, tensors, options.seed));
  const SegmentRow total = encoded.Total();
  BenchRow row;
  row.recipe = compression.rules.empty() ? "raw" : compression.rules.front().recipe.text;
  row.count = total.count;
  row.bytes = total.bytes;
  row.nmse = total.nmse();
  Workplace place = MakeWorkplace(plan, tensors, options.seed);
  const auto axpy = [&] { kernels::Axpy(0.5F, tensors.values, place.sum); };
  row.axpy = ShortestPass(options.seconds / 2, axpy);
  row.encode = ShortestPass(options.seconds, [&] { place.Encode(); });
  row.check = ShortestPass(options.seconds, [&] { place.Check(); });
  row.add = ShortestPass(options.seconds, [&] { place.Add(); });
  row.axpy = std::min(row.axpy, ShortestPass(options.seconds / 2, axpy));
  return row;
}

NamedTensors SyntheticDelta(std::size_t rows, std::size_t columns, std::uint64_t seed) {
  constexpr std::size_t kRank = 4;
  NamedTensors delta(TensorLayout({{"synthetic.weight", Shape{rows, columns}}}));
  RngStream rng = RngStream(seed).Child("synthetic");
  std::vector<float> row_sizes(rows);
  std::vector<float> column_sizes(columns);
  for (float& size : row_sizes) size = std::exp(0.7F * rng.Normal());
  for (float& size : column_sizes) size = std::exp(0.7F * rng.Normal());
  std::vector<float> left(rows * kRank);
  std::vector<float> right(columns * kRank);
  rng.FillNormal(left);
  rng.FillNormal(right);
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t j = 0; j < columns; ++j) {
      const float noise = rng.Normal();
      float value = noise * std::fabs(noise) * row_sizes[i] * column_sizes[j];
      for (std::size_t k = 0; k < kRank; ++k)
        value += 2.0F * left[i * kRank + k] * right[j * kRank + k];
      delta.values[i * columns + j] = 1e-3F * value;
    }
  }
  return delta;
}

std::string DrawBench(const std::vector<BenchRow>& rows) {
  TextTable table({Align::kLeft, Align::kRight, Align::kRight, Align::kRight, Align::kRight,
                   Align::kRight, Align::kRight, Align::kRight, Align::kRight});
  table.AddRow({"recipe", "bits/value", "ratio", "NMSE", "encode MB/s", "x axpy", "check MB/s",
                "add MB/s", "x axpy"});
  for (const BenchRow& row : rows) {
    table.AddRow(
        {row.recipe, FormatFixed(row.bits(), 4), FormatFixed(32 / row.bits(), 1),
         FormatError(row.nmse), FormatFixed(MegabytesPerSecond(row, row.encode), 0),
         FormatFixed(row.axpy / row.encode, 3), FormatFixed(MegabytesPerSecond(row, row.check), 0),
         FormatFixed(MegabytesPerSecond(row, row.add), 0), FormatFixed(row.axpy / row.add, 3)});
  }
  std::string text = table.Draw();
  if (!rows.empty()) {
    std::vector<double> speeds;
    speeds.reserve(rows.size());
    for (const BenchRow& row : rows) speeds.push_back(MegabytesPerSecond(row, row.axpy));
    const auto [least, most] = std::ranges::minmax(speeds);
    text += "axpy (out[i] += scale * x[i]) over the same values, in this run: " +
            FormatFixed(least, 0) + " to " + FormatFixed(most, 0) + " MB/s\n";
  }
  return text;
}

std::string BenchToJson(const std::vector<BenchRow>& rows) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const BenchRow& row : rows) {
    json.push_back({{"recipe", row.recipe},
                    {"values", row.count},
                    {"bytes", row.bytes},
                    {"bits_per_value", row.bits()},
                    {"nmse", row.nmse},
                    {"encode_seconds", row.encode},
                    {"check_seconds", row.check},
                    {"add_seconds", row.add},
                    {"axpy_seconds", row.axpy},
                    {"encode_times_axpy", row.axpy / row.encode},
                    {"check_times_axpy", row.axpy / row.check},
                    {"add_times_axpy", row.axpy / row.add}});
  }
  return json.dump(2) + "\n";
}

}  // namespace fl::codec_app
