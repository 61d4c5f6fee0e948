#include "fl/compression/app/model/model_bench.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "fl/common/nn/calibrate.h"
#include "fl/common/nn/instruction_set.h"
#include "fl/common/random/rng_stream.h"
#include "fl/compression/app/text_table.h"

namespace fl::model_app {
namespace {

constexpr std::size_t kSamples = 64;

Result<data::Subset> DrawSamples(const nn::Graph& graph) {
  data::Samples samples;
  samples.shape = graph.input_shape();
  samples.classes = 1;
  std::vector<float> values(kSamples * samples.shape.count());
  RngStream(1).FillUniform(values);
  samples.features = std::move(values);
  samples.labels.assign(kSamples, 0);
  FL_TRY(data::Dataset dataset, data::Dataset::Create(std::move(samples)));
  return data::Subset(std::make_shared<const data::Dataset>(std::move(dataset)));
}

// The model for both engines, the second where it can be had.
Result<std::vector<deploy::WorkingModel>> BothEngines(const nn::ModelFile& file,
                                                      const data::Subset& inputs) {
  std::vector<deploy::WorkingModel> models;
  if (const auto* integers = std::get_if<nn::QuantizedModel>(&file.model)) {
    models.push_back({integers->graph, nn::Dequantize(*integers).values});
    models.push_back(models.front());
    models.back().quantized = *integers;
    return models;
  }
  const auto& floats = std::get<nn::FloatModel>(file.model);
  models.push_back({floats.graph, floats.parameters});
  std::vector<float> values(kSamples * floats.graph.input_shape().count());
  const std::size_t features = values.size() / kSamples;
  for (std::size_t i = 0; i < kSamples; ++i)
    inputs.CopySample(i, std::span(values).subspan(i * features, features));
  FL_TRY(const std::vector<nn::ActivationRange> ranges,
         nn::ObserveRanges(floats.graph, floats.parameters, values, kSamples,
                           nn::RangeMethod::kMinMax));
  auto quantized = nn::Quantize(floats.graph, floats.parameters, ranges);
  if (!quantized) return models;  // Norms that are not folded yet, say.
  models.push_back(models.front());
  models.back().quantized = *std::move(quantized);
  return models;
}

std::string EngineOf(const deploy::WorkingModel& model) {
  return model.quantized
             ? "int8 " + std::string(nn::InstructionSetName(nn::BestIntegerInstructionSet()))
             : "fp32 " + std::string(nn::InstructionSetName(nn::BestInstructionSet()));
}

}  // namespace

Result<std::vector<ModelBenchRow>> BenchModel(const nn::ModelFile& file,
                                              const deploy::Instruments& instruments) {
  FL_TRY(const data::Subset inputs, DrawSamples(file.graph()));
  FL_TRY(const std::vector<deploy::WorkingModel> models, BothEngines(file, inputs));
  constexpr std::size_t kRounds = 4;
  deploy::Instruments part = instruments;
  part.runs = std::max<std::size_t>(1, instruments.runs / kRounds);
  std::vector<ModelBenchRow> rows;
  for (std::size_t round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < models.size(); ++i) {
      FL_TRY(const auto latency, deploy::MeasureLatency(models[i], inputs, part));
      if (!latency) continue;
      if (round == 0) {
        rows.push_back({EngineOf(models[i]), *latency});
        continue;
      }
      deploy::Latency& least = rows[i].latency;
      least.min_us = std::min(least.min_us, latency->min_us);
      least.median_us = std::min(least.median_us, latency->median_us);
      least.p99_us = std::min(least.p99_us, latency->p99_us);
    }
  }
  return rows;
}

std::string DrawModelBench(const std::vector<ModelBenchRow>& rows, std::size_t batch) {
  using codec_app::Align;
  using codec_app::FormatFixed;
  codec_app::TextTable table(
      {Align::kLeft, Align::kRight, Align::kRight, Align::kRight, Align::kRight});
  table.AddRow(
      {"engine, batch " + std::to_string(batch), "median us", "p99 us", "min us", "of fp32"});
  for (const ModelBenchRow& row : rows) {
    table.AddRow({row.engine, FormatFixed(row.latency.median_us, 1),
                  FormatFixed(row.latency.p99_us, 1), FormatFixed(row.latency.min_us, 1),
                  FormatFixed(row.latency.median_us / rows.front().latency.median_us, 2)});
  }
  return table.Draw();
}

std::string ModelBenchToJson(const std::vector<ModelBenchRow>& rows, std::size_t batch) {
  nlohmann::ordered_json json = {{"batch", batch}, {"threads", 1}};
  for (const ModelBenchRow& row : rows) {
    json["engines"].push_back({{"engine", row.engine},
                               {"median_us", row.latency.median_us},
                               {"p99_us", row.latency.p99_us},
                               {"min_us", row.latency.min_us}});
  }
  return json.dump(2) + "\n";
}

}  // namespace fl::model_app
