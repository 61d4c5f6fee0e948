#include "fl/simulations/app/summary.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "fl/common/base/readable.h"

namespace fl::sim {
namespace {

std::string Fixed(double value, int digits) {
  std::array<char, 64> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%.*f", digits, value);
  return buffer.data();
}

std::string FormatLocalModels(const std::vector<server::DeploymentRow>& rows) {
  const auto installed = std::ranges::count_if(rows, [](const auto& row) { return row.installed; });
  std::string line = "local models: " + std::to_string(installed) + " of " +
                     std::to_string(rows.size()) + " installed";
  std::uint64_t bytes = 0;
  double lowest = 1;
  for (const server::DeploymentRow& row : rows) {
    if (!row.installed) continue;
    bytes = std::max(bytes, row.bytes);
    lowest = std::min(lowest, row.local_accuracy);
  }
  if (installed == 0) return line;
  return line + ", at most " + FormatBytes(bytes) + ", accuracy at least " +
         Fixed(100 * lowest, 1) + " % on their own data";
}

}  // namespace

std::string FormatSummary(const server::Report& report, const std::string& folder) {
  const server::ReportTotals& totals = report.totals;
  const auto published =
      std::ranges::count(report.rounds, "published", &server::RoundReport::state);
  std::string text =
      report.federation + ": " + report.state + " after " + std::to_string(published) + " rounds";
  if (report.final_accuracy) text += ", accuracy " + Fixed(100 * *report.final_accuracy, 2) + " %";
  if (report.final_loss) text += ", loss " + Fixed(*report.final_loss, 4);
  text += "\nup " + FormatBytes(totals.traffic.bytes_up) +
          " (updates as fp32: " + FormatBytes(totals.fp32_body_bytes_up);
  if (totals.traffic.body_bytes_up > 0) {
    text += ", " +
            Fixed(static_cast<double>(totals.fp32_body_bytes_up) /
                      static_cast<double>(totals.traffic.body_bytes_up),
                  1) +
            " x the bodies";
  }
  text += "), down " + FormatBytes(totals.traffic.bytes_down) + "\n";
  if (!report.deployment.empty()) text += FormatLocalModels(report.deployment) + "\n";
  text += "model " + report.model_sha256 + "\n";
  text += Fixed(totals.seconds, 1) + " s, of processors " + Fixed(totals.cpu_seconds, 1) +
          " s; virtual " + Fixed(totals.virtual_seconds, 1) + " s; memory " +
          FormatBytes(totals.peak_rss_bytes) + "\n";
  return text + folder + "/report.json, " + folder + "/model.safetensors\n";
}

}  // namespace fl::sim
