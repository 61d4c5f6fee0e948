#include "fl/compression/app/model/model_bench.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "fl/common/nn/instruction_set.h"
#include "fl/compression/app/model/model_samples.h"
#include "fl/compression/app/text_table.h"

namespace fl::model_app {
namespace {

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
  deploy::WorkingModel quantized = models.front();
  // Norms that are not folded yet, say, have no integers.
  if (QuantizeBy(inputs, quantized).has_value()) models.push_back(std::move(quantized));
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
