#include "fl/server/app/admin_commands.h"

#include <chrono>
#include <thread>

#include <nlohmann/json.hpp>

#include "fl/common/base/file.h"
#include "fl/common/crypto/certificate.h"
#include "fl/common/net/http.h"
#include "fl/common/wire/messages.h"
#include "fl/server/app/run_server.h"

namespace fl::server {
namespace {

using Json = nlohmann::ordered_json;

constexpr Duration kTimeout = std::chrono::seconds(10);
constexpr std::size_t kMeasuredLater = 8;  // Rounds.
constexpr auto kFollowPause = std::chrono::milliseconds(100);
constexpr auto kWatchPause = std::chrono::seconds(1);

class AdminClient {
 public:
  static Result<AdminClient> Create(const AdminOptions& options) {
    FL_TRY(const HostPort address, ParseHostPort(options.server));
    FL_TRY(const net::TlsFiles tls, net::LoadTlsFiles(options.pki, net::TlsSide::kClient));
    net::HttpLimits limits;
    limits.body_bytes_max = std::size_t{1} << 32;
    AdminClient client;
    FL_TRY(client.http_, net::HttpClient::Create(address.host, address.port, tls, limits));
    client.host_ = options.server;
    const char* separator = "?";
    for (const auto& [key, value] :
         {std::pair{"federation", options.federation}, std::pair{"client", options.client}}) {
      if (value.empty()) continue;
      const auto named = crypto::CheckCertificateName(value);
      if (!named) return named.error().At(key);
      client.query_ += separator + std::string(key) + "=" + value;
      separator = "&";
    }
    return client;
  }

  // The body of a good answer, or the error that the server's JSON says.
  Result<Bytes> Send(const std::string& method, const std::string& page) {
    FL_TRY(net::Response response,
           http_->Exchange({method, "/v1/admin/" + page + query_, host_, {}, {}}, kTimeout));
    if (response.status >= 200 && response.status < 300) return std::move(response.body);
    const Json json = Json::parse(AsText(response.body), nullptr, false);
    std::string message = "the server answered with status " + std::to_string(response.status);
    if (json.is_object() && json.contains("error") && json["error"].is_object()) {
      message = json["error"].value("message", message);
    } else if (const auto refusal = wire::Decode<wire::Refusal>(response.body)) {
      message = refusal->message;  // As a client is answered: this is no admin's certificate.
    }
    return Error{ErrorCode::kWrongState, host_ + ": " + message};
  }

  Result<Json> Read(const std::string& page) {
    FL_TRY(const Bytes body, Send("GET", page));
    Json json = Json::parse(AsText(body), nullptr, false);
    if (json.is_discarded()) {
      return Error{ErrorCode::kMalformed, host_ + ": expected JSON, found something else"};
    }
    return json;
  }

 private:
  std::unique_ptr<net::HttpClient> http_;
  std::string host_;
  std::string query_;
};

std::string Text(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

void PrintRows(const Json& rows, std::ostream& out) {
  for (const Json& row : rows) {
    const char* separator = "";
    for (const auto& [key, value] : row.items()) {
      if (value.is_structured()) continue;
      out << separator << key << " " << Text(value);
      separator = "  ";
    }
    out << "\n";
  }
}

void PrintForPeople(const std::string& command, const Json& json, std::ostream& out) {
  if (command == "clients" || command == "events") return PrintRows(json[command], out);
  if (command == "refusals" || command == "allow") {
    PrintRows(json["refusals"], out);
    return PrintRows(json["offenders"], out);
  }
  PrintRows(json["rounds"], out);
  PrintRows(Json::array({json["totals"], json["final"]}), out);
  PrintRows(json["deployment"], out);
}

// A round's line counts what that round's updates would have been as fp32.
Json RoundLine(const Json& round, const Json& totals) {
  const std::uint64_t all = totals.value("accepted", std::uint64_t{0});
  const std::uint64_t fp32 = totals.value("fp32_body_bytes_up", std::uint64_t{0});
  const std::uint64_t accepted = round.value("accepted", std::uint64_t{0});
  Json line = {{"round", round["number"]}};
  for (const char* key :
       {"accepted", "cohort", "accuracy", "loss", "bytes_up", "body_bytes_up", "bytes_down"}) {
    line[key] = round[key];
  }
  line["fp32_body_bytes_up"] = all == 0 ? 0 : fp32 / all * accepted;
  line["seconds"] = round["seconds"];
  return line;
}

Json DoneLine(const Json& report) {
  const Json& totals = report["totals"];
  Json line = {{"done", true}, {"accuracy", report["final"]["accuracy"]}};
  for (const char* key :
       {"bytes_up", "body_bytes_up", "bytes_down", "fp32_body_bytes_up", "seconds"}) {
    line[key] = totals[key];
  }
  line["model_sha256"] = report["final"]["model_sha256"];
  line["deployment"] = report["deployment"];
  return line;
}

}  // namespace

Result<> RunAdminCommand(const std::string& command, const AdminOptions& options,
                         std::ostream& out) {
  FL_TRY(AdminClient client, AdminClient::Create(options));
  const bool order =
      command == "start" || command == "pause" || command == "stop" || command == "allow";
  FL_TRY(const Bytes body, client.Send(order ? "POST" : "GET", command));
  if (options.json) {
    out << AsText(body);
    return Ok{};
  }
  if (command == "status" || (order && command != "allow")) {
    FL_TRY(const StatusView view, ViewStatus(AsText(body)));
    out << view.lines;
    return Ok{};
  }
  const Json json = Json::parse(AsText(body), nullptr, false);
  if (!json.is_object()) {
    return Error{ErrorCode::kMalformed, options.server + ": expected a JSON object as answer"};
  }
  PrintForPeople(command, json, out);
  return Ok{};
}

Result<> FollowRounds(const AdminOptions& options, std::ostream& out) {
  FL_TRY(AdminClient client, AdminClient::Create(options));
  std::size_t shown = 0;
  while (true) {
    FL_TRY(const Json report, client.Read("report"));
    const std::string state = report.value("state", "");
    const bool over = state == "done" || state == "stopped";
    const Json& rounds = report["rounds"];
    for (; shown < rounds.size(); ++shown) {
      const Json& round = rounds[shown];
      const bool published = round["state"] == "published";
      // The measurement of a version comes a moment after its publication, or never.
      const bool measured =
          !round["accuracy"].is_null() || shown + kMeasuredLater < rounds.size() || over;
      if (round["state"] != "abandoned" && !(published && measured)) break;
      if (published) out << RoundLine(round, report["totals"]).dump() << std::endl;
    }
    if (over && shown == rounds.size()) {
      out << DoneLine(report).dump() << std::endl;
      return Ok{};
    }
    std::this_thread::sleep_for(kFollowPause);
  }
}

Result<> WatchStatus(const AdminOptions& options, std::ostream& out, StatusWatch::Columns columns) {
  FL_TRY(AdminClient client, AdminClient::Create(options));
  StatusWatch watch(out, std::move(columns));
  SystemClock clock;
  for (bool answered = false;;) {
    const Result<Bytes> status = client.Send("GET", "status");
    const std::int64_t now_us = ToMicroseconds(clock.Now());
    if (status) {
      FL_TRY(const StatusView view, ViewStatus(AsText(*status)));
      watch.Show(view, now_us);
      if (view.over) return Ok{};
      answered = true;
    } else {
      const ErrorCode code = status.error().code;
      const bool is_away = code == ErrorCode::kUnavailable || code == ErrorCode::kTimeout;
      if (!answered || !is_away) return status.error();
      watch.ShowProblem(options.server + " does not answer; trying again", now_us);
    }
    std::this_thread::sleep_for(kWatchPause);
  }
}

Result<> SaveModel(const AdminOptions& options, const std::filesystem::path& file) {
  FL_TRY(AdminClient client, AdminClient::Create(options));
  FL_TRY(const Bytes model, client.Send("GET", "model"));
  return WriteFileAtomically(file, model);
}

}  // namespace fl::server
