#include "fl/client/serve/local_service.h"

#include <future>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

namespace fl::client {
namespace {

using nlohmann::ordered_json;

net::Response JsonResponse(unsigned status, std::string_view json) {
  return {status, {{"Content-Type", "application/json"}}, ToBytes(json)};
}

net::Response Refusal(unsigned status, const std::string& message) {
  const ordered_json body = {{"error", message}};
  return JsonResponse(status, body.dump(-1, ' ', false, ordered_json::error_handler_t::replace));
}

net::Response NoModel() {
  return Refusal(503, "expected an installed local model, found none yet");
}

unsigned StatusOf(ErrorCode code) {
  switch (code) {
    case ErrorCode::kMalformed:
      return 400;
    case ErrorCode::kLimitExceeded:
      return 413;
    case ErrorCode::kShapeMismatch:
    case ErrorCode::kNotFinite:
      return 422;
    default:
      return 500;
  }
}

// A page in this machine's browser may be anybody's: it names itself in Origin, or reached the
// address by a name of its own.
bool ComesFromPage(const net::Request& request) {
  if (!net::FindHeader(request.headers, "Origin").empty()) return true;
  std::string_view host = request.host;
  const std::size_t port = host.rfind(':');
  if (port != std::string_view::npos && !host.ends_with(']')) host = host.substr(0, port);
  const bool is_number = host.find_first_not_of("0123456789.") == std::string_view::npos;
  return !is_number && host != "localhost" && host != "[::1]";
}

ordered_json DescribeClasses(const std::vector<std::uint64_t>& counts) {
  ordered_json classes = ordered_json::array();
  for (const std::uint64_t count : counts) classes.push_back(count);
  return classes;
}

double MeanConfidence(const DriftCounts& counts) {
  return counts.samples == 0 ? 0 : counts.confidence / static_cast<double>(counts.samples);
}

std::string DriftJson(const ServedModel& model) {
  const DriftCounts& before = model.reference()->counts;
  const Drift drift = MeasureDrift(*model.reference(), model.counts());
  ordered_json json;
  json["model_sha256"] = model.digest().ToHex();
  json["samples"] = model.counts().samples;
  json["drift"] = drift.score();
  json["drift_classes"] = drift.classes;
  json["drift_inputs"] = drift.inputs;
  json["confidence"] = MeanConfidence(model.counts());
  json["confidence_at_deployment"] = MeanConfidence(before);
  json["classes"] = DescribeClasses(model.counts().classes);
  json["classes_at_deployment"] = DescribeClasses(before.classes);
  return json.dump();
}

}  // namespace

void LocalService::OnRequest(net::Peer, net::Request request,
                             std::unique_ptr<net::Responder> responder) {
  if (ComesFromPage(request)) {
    return responder->Send(Refusal(403,
                                   "expected a program of this machine, which asks localhost "
                                   "and sends no Origin; found a web page"));
  }
  const bool is_predict = request.target == "/predict";
  if (!is_predict && request.target != "/health" && request.target != "/model") {
    return responder->Send(
        Refusal(404, "expected /predict, /health or /model, found " + request.target));
  }
  const std::string wanted = is_predict ? "POST" : "GET";
  if (request.method != wanted && !(request.method == "HEAD" && !is_predict)) {
    net::Response refusal =
        Refusal(405, request.target + ": expected " + wanted + ", found " + request.method);
    refusal.headers.emplace_back("Allow", wanted);
    return responder->Send(std::move(refusal));
  }
  if (is_predict) {
    // A job is copied with what it holds, which therefore is shared.
    struct Work {
      net::Request request;
      std::unique_ptr<net::Responder> responder;
    };
    const auto work = std::make_shared<Work>(Work{std::move(request), std::move(responder)});
    return pool_.Post([this, work] { work->responder->Send(Predict(work->request)); });
  }
  const std::shared_ptr<ServedModel> model = slot_.current();
  if (model == nullptr) return responder->Send(NoModel());
  if (request.target == "/model") return responder->Send(JsonResponse(200, model->card()));
  responder->Send(
      JsonResponse(200, R"({"status":"ok","model_sha256":")" + model->digest().ToHex() + "\"}"));
}

net::Response LocalService::Predict(const net::Request& request) const {
  if (is_stopping_) return Refusal(503, "the service is stopping");
  const std::shared_ptr<ServedModel> model = slot_.current();
  if (model == nullptr) return NoModel();
  auto samples = ParsePredictRequest(AsText(request.body), model->input_shape(), limits_);
  if (!samples) return Refusal(StatusOf(samples.error().code), samples.error().message);
  const auto answer = model->Answer(*std::move(samples));
  if (!answer) return Refusal(StatusOf(answer.error().code), answer.error().message);
  return JsonResponse(200, *answer);
}

std::string LocalService::DescribeDrift() {
  // On the thread that counts.
  std::promise<std::string> text;
  pool_.Post([&] {
    const std::shared_ptr<ServedModel> model = slot_.current();
    const bool is_known = model != nullptr && model->reference();
    text.set_value(is_known ? DriftJson(*model) : std::string());
  });
  return text.get_future().get();
}

}  // namespace fl::client
