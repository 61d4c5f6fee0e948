#include "fl/server/core/admin.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "fl/common/base/error_detail.h"
#include "fl/server/core/round_policy.h"
#include "fl/server/report/report.h"

namespace fl::server {
namespace {

using Json = nlohmann::ordered_json;

net::Response JsonResponse(const Json& json) {
  const std::string text = json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  return {200, {{"Content-Type", "application/json"}}, ToBytes(text)};
}

// The newest rounds whose models were measured, the oldest first.
Json Trend(const Report& report) {
  constexpr std::size_t kPointsMax = 8;
  Json trend = Json::array();
  for (const RoundReport& round : report.rounds) {
    if (!round.accuracy) continue;
    trend.push_back({{"round", round.number}, {"accuracy", *round.accuracy}});
    if (trend.size() > kPointsMax) trend.erase(trend.begin());
  }
  return trend;
}

// When the next device should come back, in seconds from now; null when none is expected.
Result<Json> NextCheckIn(Transaction& transaction, const FederationPlan& plan, TimePoint now) {
  FL_TRY(const auto clients, transaction.Clients(plan.name()));
  TimePoint next = kNever;
  for (const ClientRow& client : clients) {
    const Pace pace = PaceOf(plan.plan().rounds, client.name, false);
    if (client.last_seen + std::chrono::milliseconds(pace.again_max_ms) < now) continue;
    next = std::min(next, client.last_seen + std::chrono::milliseconds(pace.again_min_ms));
  }
  return next == kNever ? Json(nullptr) : Json(std::max(0.0, ToSeconds(next - now)));
}

Json RoundStatus(const RoundRow& round, const FederationPlan& plan, const Report& report,
                 TimePoint now) {
  const RoundsConfig& rounds = plan.plan().rounds;
  const bool waits =
      round.state == RoundState::kSelecting || round.state == RoundState::kCollecting;
  Json json = {{"number", round.number},
               {"state", RoundStateName(round.state)},
               {"phase", rounds.phases[round.phase]},
               {"cohort", round.cohort},
               {"accepted", round.accepted},
               {"goal", rounds.goal},
               {"wanted", round.cohort == 0 ? rounds.goal : GoalOf(rounds, round)},
               {"left_s", waits ? Json(ToSeconds(round.deadline_at - now)) : Json(nullptr)},
               {"refused", Json::object()}};
  if (!report.rounds.empty()) {
    const RoundReport& last = report.rounds.back();
    for (const auto& [code, count] : last.refused) json["refused"][code] = count;
    json["bytes_up"] = last.traffic.bytes_up;
    json["bytes_down"] = last.traffic.bytes_down;
  }
  return json;
}

Json FailureStatus(const std::optional<StorageFailure>& failure, TimePoint now) {
  if (!failure) return nullptr;
  return {{"ago_s", ToSeconds(now - failure->at)}, {"message", failure->message}};
}

Result<net::Response> RenderStatus(Transaction& transaction, const FederationPlan& plan,
                                   const AdminView& view) {
  FL_TRY(const auto federation, transaction.FindFederation(plan.name()));
  if (!federation) {
    return AdminRefusalResponse({ErrorCode::kNotFound, plan.name() + ": no such federation"});
  }
  Json json;
  json["federation"] = federation->name;
  json["state"] = FederationStateName(federation->state);
  json["plan_sha256"] = federation->plan.ToHex();
  json["version"] = federation->version;
  json["published"] = federation->published;
  json["rounds"] = plan.plan().rounds.count;
  json["clients"] = federation->clients;
  json["population_min"] = plan.plan().rounds.population_min;
  json["round"] = nullptr;
  FL_TRY(const auto round, transaction.FindRound(plan.name(), federation->round));
  FL_TRY(const Report report, BuildReport(transaction, plan));
  if (round) json["round"] = RoundStatus(*round, plan, report, view.now);
  json["accuracy"] = Trend(report);
  FL_TRY(json["next_check_in_s"], NextCheckIn(transaction, plan, view.now));
  json["storage_failure"] = FailureStatus(view.storage_failure, view.now);
  return JsonResponse(json);
}

Result<net::Response> RenderClients(Transaction& transaction, const FederationPlan& plan) {
  FL_TRY(const auto clients, transaction.Clients(plan.name()));
  Json json;
  json["clients"] = Json::array();
  for (const ClientRow& client : clients) {
    json["clients"].push_back({{"client", client.name},
                               {"first_seen_us", ToMicroseconds(client.first_seen)},
                               {"last_seen_us", ToMicroseconds(client.last_seen)},
                               {"accepted", client.accepted}});
  }
  return JsonResponse(json);
}

Result<net::Response> RenderEvents(Transaction& transaction, const FederationPlan& plan) {
  FL_TRY(const auto events, transaction.Events(plan.name()));
  Json json;
  json["events"] = Json::array();
  for (const EventRow& event : events) {
    json["events"].push_back(
        {{"at_us", ToMicroseconds(event.at)}, {"round", event.round}, {"text", event.text}});
  }
  return JsonResponse(json);
}

Result<net::Response> RenderRefusals(Transaction& transaction, const FederationPlan& plan) {
  FL_TRY(const auto refused, transaction.LastRefused(plan.name()));
  FL_TRY(const auto offenders, transaction.Offenders(plan.name()));
  Json json;
  json["refusals"] = Json::array();
  for (const RefusedRow& row : refused) {
    json["refusals"].push_back({{"at_us", ToMicroseconds(row.at)},
                                {"round", row.round},
                                {"client", row.client},
                                {"code", std::string(ErrorCodeName(row.code))},
                                {"detail", std::string(ErrorDetailName(row.detail))},
                                {"message", row.message}});
  }
  json["offenders"] = Json::array();
  for (const OffenderRow& row : offenders) {
    json["offenders"].push_back({{"client", row.client},
                                 {"refused_in_a_row", row.offences},
                                 {"held_until_us", ToMicroseconds(row.held_until)},
                                 {"denied", row.denied}});
  }
  return JsonResponse(json);
}

}  // namespace

Result<net::Response> RenderAdminPage(Transaction& transaction, const FederationPlan& plan,
                                      AdminPage page, const AdminView& view) {
  switch (page) {
    case AdminPage::kStatus:
      return RenderStatus(transaction, plan, view);
    case AdminPage::kClients:
      return RenderClients(transaction, plan);
    case AdminPage::kEvents:
      return RenderEvents(transaction, plan);
    case AdminPage::kRefusals:
      return RenderRefusals(transaction, plan);
    case AdminPage::kReport: {
      FL_TRY(const Report report, BuildReport(transaction, plan));
      return net::Response{
          200, {{"Content-Type", "application/json"}}, ToBytes(ReportToJson(report))};
    }
    case AdminPage::kModel: {
      FL_TRY(Bytes model, ExportModel(transaction, plan));
      return net::Response{200, {}, std::move(model)};
    }
  }
  return Error{ErrorCode::kInternal, "an admin page without a renderer"};
}

Result<net::Response> AnswerAdminRead(Transaction& transaction, const FederationPlan& plan,
                                      const AdminRead& request, const AdminView& view) {
  if (!request.federation.empty() && request.federation != plan.name()) {
    return AdminRefusalResponse(
        {ErrorCode::kNotFound, "no federation is called " + request.federation});
  }
  return RenderAdminPage(transaction, plan, request.page, view);
}

std::string_view FederationStateName(FederationState state) {
  switch (state) {
    case FederationState::kRunning:
      return "running";
    case FederationState::kPaused:
      return "paused";
    case FederationState::kCalibrating:
      return "calibrating";
    case FederationState::kDeploying:
      return "deploying";
    case FederationState::kDone:
      return "done";
    case FederationState::kStopped:
      return "stopped";
  }
  return "unknown";
}

std::string_view RoundStateName(RoundState state) {
  switch (state) {
    case RoundState::kSelecting:
      return "selecting";
    case RoundState::kCollecting:
      return "collecting";
    case RoundState::kFolding:
      return "folding";
    case RoundState::kPublished:
      return "published";
    case RoundState::kAbandoned:
      return "abandoned";
  }
  return "unknown";
}

}  // namespace fl::server
