#include "fl/server/operate/operator_pages.h"

#include <array>
#include <vector>

#include "fl/server/core/admin.h"
#include "fl/server/operate/exposition.h"
#include "fl/server/operate/federation_metrics.h"
#include "fl/server/operate/process_figures.h"

namespace fl::server {
namespace {

constexpr Duration kStoragePatience = std::chrono::seconds(2);

net::Response Plain(unsigned status, std::string_view text) {
  return {status, {{"Content-Type", "text/plain; charset=utf-8"}}, ToBytes(std::string(text))};
}

struct Source {
  std::string_view federation;
  const FederationMetrics* metrics;
  std::size_t queued;
};

class Page {
 public:
  explicit Page(std::vector<Source> sources) : sources_(std::move(sources)) {}

  void WriteFederations();
  void WriteServer(std::size_t jobs, const OperatorPages::Connections& connections,
                   ClientGate& gate);
  std::string Take() && { return std::move(out_).Take(); }

 private:
  using Figure = std::uint64_t (*)(const FederationMetrics&);

  // A family with one sample for each federation.
  void WriteEach(std::string_view name, MetricType type, std::string_view help, Figure figure) {
    out_.Family(name, type, help);
    for (const Source& source : sources_) {
      const std::array<Label, 1> labels = {Label{"federation", source.federation}};
      out_.Sample(labels, figure(*source.metrics));
    }
  }
  void WriteRequests();
  void WriteUpdates();
  void WriteBytes();
  void WriteRounds();
  void WriteSteps();
  void WriteQueues(std::size_t jobs);
  void WriteGate(ClientGate& gate);

  std::vector<Source> sources_;
  Exposition out_;
};

void Page::WriteRequests() {
  out_.Family("fl_requests_total", MetricType::kCounter, "Requests by what they ask for.");
  for (const Source& source : sources_) {
    for (std::size_t i = 0; i < kRequestKindNames.size(); ++i) {
      const std::array<Label, 2> labels = {Label{"federation", source.federation},
                                           Label{"kind", kRequestKindNames[i]}};
      out_.Sample(labels, source.metrics->requests[i].value());
    }
  }
}

void Page::WriteUpdates() {
  constexpr std::array<std::pair<wire::TaskKind, std::string_view>, 4> kKinds = {
      {{wire::TaskKind::kTrain, "train"},
       {wire::TaskKind::kEvaluate, "evaluate"},
       {wire::TaskKind::kDeploy, "deploy"},
       {wire::TaskKind::kCalibrate, "calibrate"}}};
  out_.Family("fl_updates_accepted_total", MetricType::kCounter,
              "Updates that were stored and acknowledged, by the kind of their task.");
  for (const Source& source : sources_) {
    for (const auto& [kind, name] : kKinds) {
      const std::array<Label, 2> labels = {Label{"federation", source.federation},
                                           Label{"kind", name}};
      out_.Sample(labels, source.metrics->accepted[static_cast<std::size_t>(kind)].value());
    }
  }
  out_.Family("fl_refused_total", MetricType::kCounter,
              "Requests of devices that were refused, by error code.");
  for (const Source& source : sources_) {
    for (std::size_t code = 0; code < source.metrics->refused.size(); ++code) {
      const std::uint64_t count = source.metrics->refused[code].value();
      if (count == 0) continue;
      const std::array<Label, 2> labels = {
          Label{"federation", source.federation},
          Label{"code", code == 0 ? "other" : ErrorCodeName(static_cast<ErrorCode>(code))}};
      out_.Sample(labels, count);
    }
  }
}

void Page::WriteBytes() {
  WriteEach("fl_received_bytes_total", MetricType::kCounter,
            "Bytes from devices above TLS, heads and bodies.",
            [](const FederationMetrics& metrics) { return metrics.bytes_up.value(); });
  WriteEach("fl_received_body_bytes_total", MetricType::kCounter, "Bytes of bodies from devices.",
            [](const FederationMetrics& metrics) { return metrics.body_bytes_up.value(); });
  WriteEach("fl_sent_bytes_total", MetricType::kCounter,
            "Bytes to devices above TLS, heads and bodies.",
            [](const FederationMetrics& metrics) { return metrics.bytes_down.value(); });
  WriteEach("fl_sent_body_bytes_total", MetricType::kCounter, "Bytes of bodies to devices.",
            [](const FederationMetrics& metrics) { return metrics.body_bytes_down.value(); });
}

void Page::WriteRounds() {
  WriteEach("fl_rounds_published_total", MetricType::kCounter, "Rounds that published a model.",
            [](const FederationMetrics& metrics) { return metrics.rounds_published.value(); });
  WriteEach("fl_rounds_abandoned_total", MetricType::kCounter,
            "Rounds that ended without enough updates.",
            [](const FederationMetrics& metrics) { return metrics.rounds_abandoned.value(); });
  WriteEach("fl_round", MetricType::kGauge, "The newest round; 0 before the first.",
            [](const FederationMetrics& metrics) { return metrics.round.value(); });
  WriteEach("fl_round_cohort", MetricType::kGauge, "Devices asked in the newest round.",
            [](const FederationMetrics& metrics) { return metrics.cohort.value(); });
  WriteEach("fl_round_accepted", MetricType::kGauge, "Updates accepted in the newest round.",
            [](const FederationMetrics& metrics) { return metrics.round_accepted.value(); });
  WriteEach("fl_model_version", MetricType::kGauge, "The published version.",
            [](const FederationMetrics& metrics) { return metrics.version.value(); });
  WriteEach("fl_clients", MetricType::kGauge, "Devices that ever checked in.",
            [](const FederationMetrics& metrics) { return metrics.clients.value(); });
  constexpr std::array<FederationState, 6> kStates = {
      FederationState::kRunning,   FederationState::kPaused, FederationState::kCalibrating,
      FederationState::kDeploying, FederationState::kDone,   FederationState::kStopped};
  out_.Family("fl_federation_state", MetricType::kGauge,
              "1 at the state that the federation is in.");
  for (const Source& source : sources_) {
    for (const FederationState state : kStates) {
      const std::array<Label, 2> labels = {Label{"federation", source.federation},
                                           Label{"state", FederationStateName(state)}};
      const bool is_here = source.metrics->state.value() == static_cast<std::uint64_t>(state);
      out_.Sample(labels, std::uint64_t{is_here ? 1U : 0U});
    }
  }
}

void Page::WriteSteps() {
  out_.Family("fl_step_seconds", MetricType::kHistogram,
              "Seconds by step: check an update, store a batch, answer a request, fold a round, "
              "evaluate a version.");
  for (const Source& source : sources_) {
    for (std::size_t step = 0; step < kTimedStepNames.size(); ++step) {
      const std::array<Label, 2> labels = {Label{"federation", source.federation},
                                           Label{"step", kTimedStepNames[step]}};
      const TimeHistogram& histogram = source.metrics->steps[step];
      std::array<std::uint64_t, TimeHistogram::kBounds.size() + 1> counts{};
      for (std::size_t i = 0; i < counts.size(); ++i) counts[i] = histogram.count(i);
      out_.Histogram(labels, TimeHistogram::kBounds, counts, histogram.sum_seconds());
    }
  }
}

void Page::WriteQueues(std::size_t jobs) {
  out_.Family("fl_queue_length", MetricType::kGauge,
              "What waits: events for the next batch, held check-ins, jobs for a thread.");
  for (const Source& source : sources_) {
    const std::array<Label, 2> queued = {Label{"federation", source.federation},
                                         Label{"queue", "events"}};
    out_.Sample(queued, std::uint64_t{source.queued});
    const std::array<Label, 2> held = {Label{"federation", source.federation},
                                       Label{"queue", "held_check_ins"}};
    out_.Sample(held, source.metrics->held.value());
  }
  const std::array<Label, 1> threads = {Label{"queue", "jobs"}};
  out_.Sample(threads, std::uint64_t{jobs});
}

void Page::WriteFederations() {
  WriteRounds();
  WriteRequests();
  WriteUpdates();
  WriteBytes();
  WriteSteps();
  WriteEach("fl_storage_failures_total", MetricType::kCounter,
            "Batches that could not be stored; their requests were answered 503.",
            [](const FederationMetrics& metrics) { return metrics.storage_failures.value(); });
}

void Page::WriteGate(ClientGate& gate) {
  out_.Family("fl_put_off_total", MetricType::kCounter,
              "Answers that put a device off with a window, by why.");
  for (std::size_t i = 0; i < kPutOffReasonNames.size(); ++i) {
    const std::array<Label, 1> labels = {Label{"why", kPutOffReasonNames[i]}};
    out_.Sample(labels, gate.put_off(static_cast<PutOffReason>(i)).value());
  }
  out_.Family("fl_paused_requests_total", MetricType::kCounter,
              "Requests that were left unread for a while, as their device came too early.");
  out_.Sample(gate.paused().value());
  out_.Family("fl_limited_clients", MetricType::kGauge,
              "Devices that the limit of requests remembers.");
  out_.Sample(std::uint64_t{gate.clients()});
}

void Page::WriteServer(std::size_t jobs, const OperatorPages::Connections& connections,
                       ClientGate& gate) {
  WriteQueues(jobs);
  WriteGate(gate);
  out_.Family("fl_open_connections", MetricType::kGauge, "Connections over mutual TLS.");
  out_.Sample(std::uint64_t{connections.open});
  out_.Family("fl_put_out_connections_total", MetricType::kCounter,
              "Connections that were ended because their client had opened too many others.");
  out_.Sample(connections.put_out);
  const ProcessFigures process = ReadProcessFigures();
  out_.Family("process_resident_memory_bytes", MetricType::kGauge, "Resident memory.");
  out_.Sample(process.resident_bytes);
  out_.Family("process_virtual_memory_bytes", MetricType::kGauge, "Virtual memory.");
  out_.Sample(process.virtual_bytes);
  out_.Family("process_open_fds", MetricType::kGauge, "Open file descriptors.");
  out_.Sample(process.open_descriptors);
  out_.Family("process_max_fds", MetricType::kGauge, "File descriptors that may be open.");
  out_.Sample(process.descriptors_max);
  out_.Family("process_threads", MetricType::kGauge, "Threads.");
  out_.Sample(process.threads);
  out_.Family("process_cpu_seconds_total", MetricType::kCounter, "Processor time.");
  out_.Sample({}, process.cpu_seconds);
  out_.Family("process_start_time_seconds", MetricType::kGauge,
              "When the process was started, in seconds since the Unix epoch.");
  out_.Sample({}, process.start_time_seconds);
}

}  // namespace

void OperatorPages::OnRequest(net::Peer, net::Request request,
                              std::unique_ptr<net::Responder> responder) {
  responder->Send(Answer(request));
}

net::Response OperatorPages::Answer(const net::Request& request) {
  const std::string path = request.target.substr(0, request.target.find('?'));
  const bool known = path == "/metrics" || path == "/healthz" || path == "/readyz";
  if (!known) return Plain(404, "expected /metrics, /healthz or /readyz\n");
  if (request.method != "GET" && request.method != "HEAD") {
    net::Response refused = Plain(405, "expected GET\n");
    refused.headers.emplace_back("Allow", "GET, HEAD");
    return refused;
  }
  if (path == "/healthz") return Plain(200, "ok\n");
  if (path == "/readyz") {
    const Result<> ready = shell_.ConfirmStorage(kStoragePatience);
    return ready ? Plain(200, "ready\n") : Plain(503, ready.error().message + "\n");
  }
  return {200, {{"Content-Type", std::string(Exposition::kContentType)}}, ToBytes(RenderMetrics())};
}

std::string OperatorPages::RenderMetrics() const {
  std::vector<Source> sources;
  for (const auto& strand : shell_.strands()) {
    sources.push_back({strand->plan().name(), &strand->metrics(), strand->waiting()});
  }
  Page page(std::move(sources));
  page.WriteFederations();
  page.WriteServer(shell_.jobs_waiting(), connections_(), shell_.gate());
  return std::move(page).Take();
}

}  // namespace fl::server
