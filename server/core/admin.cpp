#include "fl/server/core/admin.h"

#include <nlohmann/json.hpp>

#include "fl/server/report/report.h"

namespace fl::server {
namespace {

using Json = nlohmann::ordered_json;

net::Response JsonResponse(const Json& json) {
  const std::string text = json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  return {200, {{"Content-Type", "application/json"}}, ToBytes(text)};
}

Result<net::Response> RenderStatus(Transaction& transaction, const FederationPlan& plan) {
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
  if (round) {
    json["round"] = {{"number", round->number},
                     {"state", RoundStateName(round->state)},
                     {"phase", plan.plan().rounds.phases[round->phase]},
                     {"cohort", round->cohort},
                     {"accepted", round->accepted},
                     {"goal", plan.plan().rounds.goal}};
  }
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

}  // namespace

Result<net::Response> RenderAdminPage(Transaction& transaction, const FederationPlan& plan,
                                      AdminPage page) {
  switch (page) {
    case AdminPage::kStatus:
      return RenderStatus(transaction, plan);
    case AdminPage::kClients:
      return RenderClients(transaction, plan);
    case AdminPage::kEvents:
      return RenderEvents(transaction, plan);
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
