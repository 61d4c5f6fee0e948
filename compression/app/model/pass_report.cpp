#include "fl/compression/app/model/pass_report.h"

#include <nlohmann/json.hpp>

#include "fl/compression/app/text_table.h"

namespace fl::model_app {
namespace {

using codec_app::Align;
using codec_app::FormatCount;
using codec_app::FormatFixed;
using codec_app::TextTable;
using Json = nlohmann::ordered_json;

std::string FormatMillions(double value) {
  return FormatFixed(value * 1e-6, value < 1e6 ? 3 : 2);
}

std::vector<std::string> CellsOf(const deploy::ReportRow& row) {
  const std::string none = "-";
  return {
      row.pass,
      FormatFixed(100 * row.accuracy, 2),
      FormatCount(row.cost.parameters),
      FormatCount(row.cost.nonzero),
      FormatMillions(row.cost.multiply_accumulates),
      FormatCount(row.file_bytes),
      row.latency ? FormatFixed(row.latency->median_us, 1) : none,
      row.latency ? FormatFixed(row.latency->p99_us, 1) : none,
      FormatCount(row.cost.activation_peak),
      FormatMillions(row.cost.bytes_moved),
      row.latency && row.latency->microjoules ? FormatFixed(*row.latency->microjoules, 1) : none,
      FormatFixed(row.seconds, 2)};
}

std::string DrawNoise(const deploy::ReportRow& row) {
  TextTable table({Align::kLeft, Align::kRight});
  table.AddRow({"after " + row.pass, "signal/noise dB"});
  for (const deploy::LayerNoise& layer : row.noise)
    table.AddRow({layer.node, FormatFixed(layer.signal_to_noise_db, 1)});
  return "\n" + table.Draw();
}

Json OrNull(const std::optional<double>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json RowToJson(const deploy::ReportRow& row) {
  const auto latency = [&](double deploy::Latency::*field) {
    return row.latency ? std::optional((*row.latency).*field) : std::nullopt;
  };
  Json json = {{"pass", row.pass},
               {"summary", row.summary},
               {"accuracy", row.accuracy},
               {"parameters", row.cost.parameters},
               {"nonzero_parameters", row.cost.nonzero},
               {"multiply_accumulates", row.cost.multiply_accumulates},
               {"file_bytes", row.file_bytes},
               {"latency_min_us", OrNull(latency(&deploy::Latency::min_us))},
               {"latency_p50_us", OrNull(latency(&deploy::Latency::median_us))},
               {"latency_p99_us", OrNull(latency(&deploy::Latency::p99_us))},
               {"activation_peak_bytes", row.cost.activation_peak},
               {"bytes_moved", row.cost.bytes_moved},
               {"energy_uj", row.latency ? OrNull(row.latency->microjoules) : Json(nullptr)},
               {"seconds", row.seconds}};
  json["figures"] = Json::object();
  for (const deploy::Figure& figure : row.figures) json["figures"][figure.name] = figure.value;
  json["layers"] = Json::array();
  for (const deploy::LayerNoise& layer : row.noise) {
    json["layers"].push_back(
        {{"name", layer.node}, {"signal_to_noise_db", layer.signal_to_noise_db}});
  }
  return json;
}

}  // namespace

std::string DrawReport(const deploy::DeployReport& report) {
  std::vector<Align> columns(12, Align::kRight);
  columns[0] = Align::kLeft;
  TextTable table(std::move(columns));
  table.AddRow({"pass", "accuracy %", "parameters", "nonzero", "M MACs", "file bytes", "p50 us",
                "p99 us", "activation bytes", "MB moved", "uJ", "seconds"});
  std::string noise;
  for (const deploy::ReportRow& row : report.rows) {
    table.AddRow(CellsOf(row));
    if (!row.noise.empty()) noise = DrawNoise(row);
  }
  std::string lines;
  for (const std::string& line : report.lines) lines += line + "\n";
  return lines + "\n" + table.Draw() + noise;
}

std::string ReportToJson(const deploy::DeployReport& report, std::optional<double> predicted_us) {
  Json json = {{"accepted", report.accepted},
               {"reason", report.reason},
               {"teacher_accuracy", report.measured.teacher_accuracy},
               {"accuracy", report.measured.local_accuracy},
               {"majority_share", report.measured.majority_share},
               {"bytes", report.measured.bytes},
               {"predicted_us", OrNull(predicted_us)}};
  json["passes"] = Json::array();
  for (const deploy::ReportRow& row : report.rows) json["passes"].push_back(RowToJson(row));
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace fl::model_app
