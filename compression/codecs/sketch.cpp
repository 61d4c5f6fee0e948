#include "fl/compression/codecs/sketch.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "fl/common/base/check.h"
#include "fl/compression/codecs/dense.h"
#include "fl/compression/codecs/level_codec.h"

namespace fl {
namespace {

constexpr std::size_t kRun = 1024;  // Values estimated at once.

Result<> ReadTable(const Stage& stage, CountSketchConfig& config) {
  const std::string found =
      stage.arguments.empty() ? "nothing" : "\"" + stage.arguments.front() + "\"";
  const std::string text = stage.arguments.size() == 1 ? stage.arguments.front() : std::string();
  const std::size_t by = text.find('x');
  const auto rows = ParseNumber<std::size_t>(std::string_view(text).substr(0, by));
  const auto columns = ParseNumber<std::size_t>(
      by == std::string::npos ? std::string_view() : std::string_view(text).substr(by + 1));
  const bool known = rows && columns && *rows >= 1 && *rows <= CountSketch::kRowsMax &&
                     *columns >= 1 && *columns <= CountSketch::kColumnsMax;
  if (!known) {
    return RefuseStage(stage, "expected ROWSxCOLUMNS, 1 to " +
                                  std::to_string(CountSketch::kRowsMax) + " rows and 1 to " +
                                  std::to_string(CountSketch::kColumnsMax) +
                                  " columns, such as sketch 5x2000, found " + found);
  }
  config.rows = *rows;
  config.columns = *columns;
  return {};
}

Result<CountSketchConfig> ReadSketch(const Stage& stage, std::size_t count) {
  constexpr std::array<std::string_view, 1> kKnown = {"seed"};
  FL_TRY(const StageOptions options, StageOptions::Read(stage, kKnown));
  CountSketchConfig config{.count = count};
  FL_TRY_OK(ReadTable(stage, config));
  if (const std::string* text = options.Find("seed")) {
    const auto seed = ParseNumber<std::uint32_t>(*text);
    if (!seed) return RefuseStage(stage, "seed: expected 0 to 4294967295, found \"" + *text + "\"");
    config.seed = *seed;
  }
  if (count > CountSketch::kCountMax) {
    return RefuseStage(stage, "expected at most " + std::to_string(CountSketch::kCountMax) +
                                  " values, found " + std::to_string(count));
  }
  if (config.rows * config.columns >= count) {
    return RefuseStage(
        stage, "a table of " + std::to_string(config.rows * config.columns) +
                   " cells is not smaller than the " + std::to_string(count) +
                   " values that it is of; expected fewer columns, another recipe for small "
                   "tensors, or a larger compression.gather_below, so that they share a table");
  }
  return config;
}

}  // namespace

Sketch::Sketch(const CountSketchConfig& config, std::unique_ptr<Codec> cells)
    : sketch_(config), cells_(std::move(cells)) {
  FL_CHECK(cells_->count() == sketch_.cells() && cells_->traits().granularity == 1,
           "cells are written and finished one by one");
}

// A row's estimate of a value differs by the other values that share its cell: in expectation over
// the seeds by at most their energy / columns. The median is no farther off than the half of the
// rows that lie beyond it.
CodecTraits Sketch::traits() const {
  const CodecTraits cells = cells_->traits();
  CodecTraits traits{.deterministic = cells.deterministic,
                     .needs_round_parameters = cells.needs_round_parameters,
                     .shared_randomness = true,
                     .server_state = cells.server_state};
  if (cells.lossless) {
    const std::size_t beyond = (sketch_.rows() + 1) / 2;
    const double others = static_cast<double>(count() - 1) / static_cast<double>(sketch_.columns());
    traits.relative_error =
        others * static_cast<double>(sketch_.rows()) / static_cast<double>(beyond);
  }
  return traits;
}

void Sketch::Encode(std::span<const float> values, std::span<float> decoded,
                    const RoundParameters& parameters, RngStream rng, ByteWriter& out) const {
  const bool wanted = WantsDecoded(values, decoded);
  std::vector<float> cells(sketch_.cells());
  sketch_.Add(values, 0, cells);
  std::vector<float> cells_decoded(wanted ? cells.size() : 0);
  cells_->Encode(cells, cells_decoded, parameters, rng, out);
  if (wanted) sketch_.Estimate(cells_decoded, 0, decoded);
}

Result<std::unique_ptr<ParsedPayload>> Sketch::Parse(ByteSpan payload,
                                                     const RoundParameters& parameters,
                                                     const PayloadLimits& limits) const {
  return cells_->Parse(payload, parameters, limits);
}

void Sketch::DecodeAdd(const ParsedPayload& payload, std::size_t first, float scale,
                       std::span<float> out) const {
  FL_CHECK(first + out.size() <= count(), "a block of coordinates lies inside its segment");
  std::vector<float> cells(sketch_.cells());
  cells_->DecodeAdd(payload, 0, 1.0F, cells);
  std::array<float, kRun> values;
  for (std::size_t at = 0; at < out.size(); at += kRun) {
    const auto run = std::span(values).first(std::min(kRun, out.size() - at));
    sketch_.Estimate(cells, first + at, run);
    for (std::size_t i = 0; i < run.size(); ++i) out[at + i] += scale * run[i];
  }
}

void Sketch::Estimate(std::span<const float> sum, std::size_t first, std::span<float> out) const {
  sketch_.Estimate(sum, first, out);
}

const CountSketch* SketchOf(const Codec& codec) {
  const auto* sketch = dynamic_cast<const Sketch*>(&codec);
  return sketch != nullptr ? &sketch->sketch() : nullptr;
}

Result<std::unique_ptr<Codec>> BuildSketch(const Chain& chain, const Shape& shape,
                                           std::size_t parameters_offset) {
  FL_TRY(const CountSketchConfig config, ReadSketch(*chain.shape, shape.count()));
  const Stage raw{.name = "raw", .arguments = {}, .options = {}};
  const Chain rest{.shape = nullptr,
                   .values = chain.values != nullptr ? chain.values : &raw,
                   .entropy = chain.entropy};
  if (HasLevels(rest)) {
    return RefuseStage(*rest.values,
                       "leaves most cells of a sketch out, and what they held could not be told "
                       "any more; expected raw, fp16, bf16 or quantize B after sketch");
  }
  FL_TRY(std::unique_ptr<Codec> cells,
         BuildDense(rest, Shape{config.rows, config.columns}, parameters_offset));
  return std::unique_ptr<Codec>(std::make_unique<Sketch>(config, std::move(cells)));
}

}  // namespace fl
