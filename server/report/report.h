#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fl/server/core/federation_plan.h"
#include "fl/server/storage/storage.h"

namespace fl::server {

struct RoundReport {
  std::uint64_t number = 0;
  std::uint64_t version = 0;
  std::string state;  // "selecting", "collecting", "folding", "published", "abandoned".
  std::uint64_t cohort = 0;
  std::uint64_t accepted = 0;
  std::map<std::string, std::uint64_t> refused;  // By ErrorCodeName.
  Traffic traffic;
  double seconds =
      0;  // Wall time from opening to publishing; in fl-sim the simulator's own measurement.
  double virtual_seconds = 0;  // The same by the clock that drives the core.
  // Of the released and of the published model of the version that the round published: the
  // server's own evaluation; or, weighted by examples, that of the clients who were asked to
  // measure the released one, and of the next round's, who see only the published one.
  std::optional<double> loss;
  std::optional<double> accuracy;
  std::optional<double> loss_published;
  std::optional<double> accuracy_published;
  // What those clients measured, also beside the server's own evaluation.
  std::optional<double> loss_clients;
  std::optional<double> accuracy_clients;
};
struct ReportTotals {
  Traffic traffic;
  std::uint64_t accepted = 0;
  std::uint64_t fp32_body_bytes_up = 0;  // The accepted updates as fp32 of whole, plain weights.
  double seconds = 0;
  double virtual_seconds = 0;
  double cpu_seconds = 0;  // Filled by the program, like peak_rss_bytes.
  std::uint64_t peak_rss_bytes = 0;
};
// What devices with `auto` made of their budget, in the published rounds.
struct AutoReport {
  struct Tensor {
    std::string name;  // The segment's: a tensor's, or "gathered".
    std::uint64_t payload_bytes = 0;
    std::vector<std::pair<std::string, std::uint64_t>> choices;  // How often; in AutoTally's order.
  };
  std::uint64_t bytes = 0;  // The most that an update may take.
  double share = 1;         // Of that, what the newest round takes by its loss; 1: all.
  std::uint64_t updates = 0;
  std::uint64_t body_bytes = 0;
  std::uint64_t body_bytes_largest = 0;
  std::vector<Tensor> tensors;  // Those that `auto` writes, in the plan's order.
};

// What the devices calibrated together.
struct CalibrationReport {
  std::uint64_t devices = 0;  // That sent histograms.
  std::uint64_t samples = 0;
  std::string ranges_sha256;  // Of the ranges' blob; empty: not settled, or of too few devices.
};

struct Report {
  std::string federation;
  std::string state;  // "running", "paused", "calibrating", "deploying", "done", "stopped".
  std::uint64_t seed = 0;
  std::string plan_sha256;
  std::vector<RoundReport> rounds;
  ReportTotals totals;
  std::optional<double> final_loss;  // As the last round's.
  std::optional<double> final_accuracy;
  std::optional<double> final_loss_published;
  std::optional<double> final_accuracy_published;
  std::optional<double> final_loss_clients;
  std::optional<double> final_accuracy_clients;
  std::string model_sha256;                      // Of the released model.
  std::optional<AutoReport> automatic;           // Where the plan has `auto`.
  std::optional<CalibrationReport> calibration;  // Where the plan asks for one.
  std::vector<DeploymentRow> deployment;         // By client.
};

// What the storage says about a federation so far. kNotFound when it has none of that name.
Result<Report> BuildReport(Storage& storage, const FederationPlan& plan);
Result<Report> BuildReport(Transaction& transaction, const FederationPlan& plan);

// report.json, indented, in the stable names of docs/; absent values are null.
std::string ReportToJson(const Report& report);

// The released model as a model file (safetensors).
Result<Bytes> ExportModel(Transaction& transaction, const FederationPlan& plan);
Result<Bytes> ExportModel(Storage& storage, const FederationPlan& plan);

}  // namespace fl::server
