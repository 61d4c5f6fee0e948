#include "fl/server/report/report.h"

#include <nlohmann/json.hpp>

#include "fl/common/data/normalization.h"
#include "fl/common/nn/materialize.h"
#include "fl/common/nn/plain_graph.h"
#include "fl/server/core/admin.h"
#include "fl/server/core/auto_tally.h"
#include "fl/server/core/calibration.h"
#include "fl/server/core/round_parameters.h"
#include "fl/server/core/version_models.h"

namespace fl::server {
namespace {

using Json = nlohmann::ordered_json;

template <typename T>
Json OrNull(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

// The server's own evaluation of a version, or what clients measured: those who were asked to, and
// those who trained from it, which the round after tells.
void AddQuality(const std::vector<RoundRow>& rows, const std::vector<ModelRow>& models,
                RoundReport& round) {
  if (round.version == 0) return;
  bool same = true;
  for (const ModelRow& model : models) {
    if (model.version != round.version) continue;
    round.loss = model.loss;
    round.accuracy = model.accuracy;
    round.loss_published = model.loss_published;
    round.accuracy_published = model.accuracy_published;
    same = model.released == model.digest;
    if (model.clients_examples == 0) continue;
    const auto examples = static_cast<double>(model.clients_examples);
    round.loss_clients = model.clients_loss_sum / examples;
    round.accuracy_clients = static_cast<double>(model.clients_correct) / examples;
  }
  if (round.accuracy || round.loss) return;
  for (const RoundRow& row : rows) {
    if (row.base_version != round.version || row.state != RoundState::kPublished) continue;
    round.loss_published = row.loss_before;
    round.accuracy_published = row.accuracy_before;
  }
  round.loss = round.loss_clients;
  round.accuracy = round.accuracy_clients;
  if (!same || round.accuracy) return;
  round.loss = round.loss_published;
  round.accuracy = round.accuracy_published;
}

RoundReport ReportOf(const RoundRow& row) {
  RoundReport report;
  report.number = row.number;
  report.version = row.version;
  report.state = RoundStateName(row.state);
  report.cohort = row.cohort;
  report.accepted = row.accepted;
  const TimePoint end = row.state == RoundState::kPublished ? row.published_at : row.closed_at;
  if (end > row.opened_at) report.virtual_seconds = ToSeconds(end - row.opened_at);
  report.seconds = report.virtual_seconds;
  return report;
}

Json TrafficJson(const Traffic& traffic) {
  return {{"bytes_up", traffic.bytes_up},
          {"body_bytes_up", traffic.body_bytes_up},
          {"bytes_down", traffic.bytes_down},
          {"body_bytes_down", traffic.body_bytes_down}};
}

Json RoundJson(const RoundReport& round) {
  Json json = {{"number", round.number}, {"version", round.version},   {"state", round.state},
               {"cohort", round.cohort}, {"accepted", round.accepted}, {"refused", Json::object()}};
  for (const auto& [code, count] : round.refused) json["refused"][code] = count;
  json.update(TrafficJson(round.traffic));
  json["seconds"] = round.seconds;
  json["virtual_seconds"] = round.virtual_seconds;
  json["loss"] = OrNull(round.loss);
  json["accuracy"] = OrNull(round.accuracy);
  json["loss_published"] = OrNull(round.loss_published);
  json["accuracy_published"] = OrNull(round.accuracy_published);
  json["loss_clients"] = OrNull(round.loss_clients);
  json["accuracy_clients"] = OrNull(round.accuracy_clients);
  return json;
}

Json TotalsJson(const ReportTotals& totals) {
  Json json = TrafficJson(totals.traffic);
  json["requests"] = totals.traffic.requests;
  json["accepted"] = totals.accepted;
  json["fp32_body_bytes_up"] = totals.fp32_body_bytes_up;
  json["seconds"] = totals.seconds;
  json["virtual_seconds"] = totals.virtual_seconds;
  json["cpu_seconds"] = totals.cpu_seconds;
  json["peak_rss_bytes"] = totals.peak_rss_bytes;
  return json;
}

void AddTotals(const std::vector<RoundRow>& rows, const FederationPlan& plan, Report& report) {
  for (const RoundReport& round : report.rounds) report.totals.accepted += round.accepted;
  const std::size_t whole = nn::PlainGraph(plan.graph()).parameters.total();
  report.totals.fp32_body_bytes_up = report.totals.accepted * whole * sizeof(float);
  TimePoint last{};
  for (const RoundRow& row : rows) {
    last = std::max({last, row.opened_at, row.closed_at, row.published_at});
  }
  if (!rows.empty() && last > rows.front().opened_at) {
    report.totals.virtual_seconds = ToSeconds(last - rows.front().opened_at);
  }
  report.totals.seconds = report.totals.virtual_seconds;
}

Result<std::optional<AutoReport>> ReportAuto(Transaction& transaction, const FederationPlan& plan,
                                             const std::vector<RoundRow>& rows) {
  const SegmentPlan& delta = plan.checked().delta;
  if (!delta.budget()) return std::optional<AutoReport>();
  AutoReport report;
  report.bytes = delta.budget()->bytes;
  RoundParameters parameters = plan.initial_parameters();
  if (!rows.empty()) {
    FL_TRY(parameters, ReadRoundParameters(transaction, plan, rows.back().number));
  }
  FL_TRY(const rate::BudgetState state, delta.ReadBudgetState(parameters));
  report.share = static_cast<double>(state.share);
  FL_TRY(const auto tensors, transaction.Tensors(plan.name()));
  const auto found = tensors.find(AutoTally::kTensor);
  AutoTally tally = AutoTally::Of(plan);
  if (found != tensors.end()) {
    FL_TRY(tally, AutoTally::Decode(plan, found->second));
  }
  report.updates = tally.updates;
  report.body_bytes = tally.body_bytes;
  report.body_bytes_largest = tally.body_bytes_largest;
  for (std::size_t i = 0; i < tally.segments.size(); ++i) {
    const AutoTally::Segment& segment = tally.segments[i];
    if (segment.choices.empty()) continue;
    auto& tensor = report.tensors.emplace_back();
    tensor.name = delta.segments()[i].name;
    tensor.payload_bytes = segment.payload_bytes;
    for (const auto& [key, times] : segment.choices) {
      tensor.choices.emplace_back(AutoTally::NameOf(key), times);
    }
  }
  return std::optional(std::move(report));
}

Result<std::optional<CalibrationReport>> ReportCalibration(Transaction& transaction,
                                                           const FederationPlan& plan) {
  if (!plan.checked().calibration) return std::optional<CalibrationReport>();
  FL_TRY(const auto bytes, transaction.FindTensor(plan.name(), CalibrationTally::kTensor));
  CalibrationTally tally;
  if (bytes) {
    FL_TRY(tally, CalibrationTally::Decode(*bytes));
  }
  return std::optional(CalibrationReport{tally.devices, tally.samples,
                                         tally.ranges ? tally.ranges->ToHex() : std::string()});
}

Json CalibrationJson(const CalibrationReport& report) {
  const bool settled = !report.ranges_sha256.empty();
  return {{"devices", report.devices},
          {"samples", report.samples},
          {"ranges_sha256", settled ? Json(report.ranges_sha256) : Json(nullptr)}};
}

Json AutoJson(const AutoReport& report) {
  Json json = {{"bytes", report.bytes},
               {"share", report.share},
               {"updates", report.updates},
               {"body_bytes", report.body_bytes},
               {"body_bytes_largest", report.body_bytes_largest}};
  json["tensors"] = Json::array();
  for (const AutoReport::Tensor& tensor : report.tensors) {
    Json choices = Json::object();
    for (const auto& [name, times] : tensor.choices) choices[name] = times;
    json["tensors"].push_back(
        {{"name", tensor.name}, {"payload_bytes", tensor.payload_bytes}, {"choices", choices}});
  }
  return json;
}

}  // namespace

Result<Report> BuildReport(Transaction& transaction, const FederationPlan& plan) {
  const std::string& name = plan.name();
  FL_TRY(const auto federation, transaction.FindFederation(name));
  if (!federation) return Error{ErrorCode::kNotFound, name + ": no such federation"};
  FL_TRY(const std::vector<RoundRow> rows, transaction.Rounds(name));
  FL_TRY(const std::vector<ModelRow> models, transaction.Models(name));
  FL_TRY(const auto traffic, transaction.TrafficByRound(name));
  FL_TRY(const auto refusals, transaction.RefusalsByRound(name));
  Report report;
  report.federation = name;
  report.state = FederationStateName(federation->state);
  report.seed = plan.plan().seed;
  report.plan_sha256 = federation->plan.ToHex();
  for (const RoundRow& row : rows) {
    RoundReport& round = report.rounds.emplace_back(ReportOf(row));
    const auto found = traffic.find(row.number);
    if (found != traffic.end()) round.traffic = found->second;
    for (const auto& [key, count] : refusals) {
      if (key.first != row.number) continue;
      round.refused[std::string(ErrorCodeName(static_cast<ErrorCode>(key.second)))] += count;
    }
    AddQuality(rows, models, round);
  }
  for (const auto& [round, bytes] : traffic) report.totals.traffic += bytes;
  AddTotals(rows, plan, report);
  if (!models.empty()) report.model_sha256 = models.back().released.ToHex();
  for (const RoundReport& round : report.rounds) {
    if (round.version != federation->version || round.version == 0) continue;
    report.final_loss = round.loss;
    report.final_accuracy = round.accuracy;
    report.final_loss_published = round.loss_published;
    report.final_accuracy_published = round.accuracy_published;
    report.final_loss_clients = round.loss_clients;
    report.final_accuracy_clients = round.accuracy_clients;
  }
  FL_TRY(report.automatic, ReportAuto(transaction, plan, rows));
  FL_TRY(report.calibration, ReportCalibration(transaction, plan));
  FL_TRY(report.deployment, transaction.Deployments(name));
  return report;
}

Result<Report> BuildReport(Storage& storage, const FederationPlan& plan) {
  FL_TRY(const auto transaction, storage.Begin(plan.name(), TransactionMode::kOptimistic));
  return BuildReport(*transaction, plan);
}

std::string ReportToJson(const Report& report) {
  Json json = {{"federation", report.federation},
               {"state", report.state},
               {"seed", report.seed},
               {"plan_sha256", report.plan_sha256}};
  json["rounds"] = Json::array();
  for (const RoundReport& round : report.rounds) json["rounds"].push_back(RoundJson(round));
  json["totals"] = TotalsJson(report.totals);
  json["final"] = {{"loss", OrNull(report.final_loss)},
                   {"accuracy", OrNull(report.final_accuracy)},
                   {"loss_published", OrNull(report.final_loss_published)},
                   {"accuracy_published", OrNull(report.final_accuracy_published)},
                   {"loss_clients", OrNull(report.final_loss_clients)},
                   {"accuracy_clients", OrNull(report.final_accuracy_clients)},
                   {"model_sha256", report.model_sha256}};
  json["auto"] = report.automatic ? AutoJson(*report.automatic) : Json(nullptr);
  json["calibration"] = report.calibration ? CalibrationJson(*report.calibration) : Json(nullptr);
  json["deployment"] = Json::array();
  for (const DeploymentRow& row : report.deployment) {
    json["deployment"].push_back({{"client", row.client},
                                  {"bytes", row.bytes},
                                  {"teacher_accuracy", row.teacher_accuracy},
                                  {"local_accuracy", row.local_accuracy},
                                  {"installed", row.installed}});
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<Bytes> ExportModel(Transaction& transaction, const FederationPlan& plan) {
  FL_TRY(const auto federation, transaction.FindFederation(plan.name()));
  if (!federation) return Error{ErrorCode::kNotFound, plan.name() + ": no such federation"};
  FL_TRY(const auto model, transaction.FindModel(plan.name(), federation->version));
  if (!model) return Error{ErrorCode::kInternal, plan.name() + ": its newest version is missing"};
  FL_TRY(const std::vector<float> released, ReadModelValues(transaction, plan, model->released));
  nn::ModelFile file;
  FL_TRY(file.model, nn::Materialize(plan.graph(), released));
  const DataConfig& data = plan.plan().data;
  if (data.normalize != "fitted") {  // Else each device has its own.
    FL_TRY(const data::Normalization normalization,
           data::MakeNormalization(data.normalize, data.mean, data.scale));
    file.normalization = normalization.ToText();
  }
  file.notes["federation"] = plan.name();
  file.notes["version"] = std::to_string(federation->version);
  return nn::SerializeModelFile(file);
}

Result<Bytes> ExportModel(Storage& storage, const FederationPlan& plan) {
  FL_TRY(const auto transaction, storage.Begin(plan.name(), TransactionMode::kOptimistic));
  return ExportModel(*transaction, plan);
}

}  // namespace fl::server
