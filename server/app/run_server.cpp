#include "fl/server/app/run_server.h"

#include <pthread.h>

#include <charconv>
#include <csignal>
#include <ctime>

#include <sys/resource.h>

#include "fl/common/base/file.h"
#include "fl/server/app/evaluator.h"
#include "fl/server/app/notify.h"
#include "fl/server/http/revocation_watch.h"
#include "fl/server/http/server_shell.h"
#include "fl/server/operate/operator_pages.h"
#include "fl/server/storage/sqlite_storage.h"

namespace fl::server {
namespace {

constexpr Duration kGrace = std::chrono::seconds(2);
constexpr std::size_t kPagesConnectionsMax = 16;

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  return signals;
}

// Before any other thread begins, so that all inherit it and the signals wait for WaitForStop.
void BlockStopSignals() {
  const sigset_t signals = StopSignals();
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

// Returns at a signal, or when `until_done` and all is done; meanwhile follows the revocations. A
// second signal has its usual effect.
void WaitForStop(const ServerShell& shell, bool until_done, RevocationWatch& revocations) {
  const sigset_t signals = StopSignals();
  const timespec patience{0, 200'000'000};
  constexpr int kTurnsBetweenLooks = 4;
  for (int turn = 1; ::sigtimedwait(&signals, nullptr, &patience) < 0; ++turn) {
    if (until_done && shell.done()) break;
    if (turn % kTurnsBetweenLooks == 0) revocations.Look();
  }
  ::signal(SIGINT, SIG_DFL);
  ::signal(SIGTERM, SIG_DFL);
  ::pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
}

// Each connection needs one; most systems allow more than they give at first.
void RaiseDescriptorLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

Result<std::vector<ServedFederation>> LoadFederations(const RunOptions& options) {
  std::vector<ServedFederation> federations;
  for (const std::filesystem::path& path : options.plans) {
    FL_TRY(Plan plan, LoadPlan(path.string()));
    FL_TRY(auto checked, CheckPlan(std::move(plan), path.string()));
    ServedFederation served;
    served.plan = FederationPlan::Create(std::move(checked));
    for (const ServedFederation& other : federations) {
      if (other.plan->name() != served.plan->name()) continue;
      return Error{ErrorCode::kInvalidArgument,
                   path.string() + ": two plans have the name " + served.plan->name()};
    }
    FL_TRY(served.measure, MakeMeasure(served.plan, options.data_roots));
    federations.push_back(std::move(served));
  }
  return federations;
}

// A folder that holds another federation's state was meant for another call.
Result<> CheckFolderIsOurs(Storage& storage, const std::vector<ServedFederation>& federations,
                           const std::filesystem::path& folder) {
  FL_TRY(const auto transaction,
         storage.Begin(federations.front().plan->name(), TransactionMode::kOptimistic));
  FL_TRY(const std::vector<FederationRow> rows, transaction->Federations());
  for (const FederationRow& row : rows) {
    bool ours = false;
    for (const ServedFederation& served : federations) ours |= served.plan->name() == row.name;
    if (ours) continue;
    return Error{ErrorCode::kWrongState,
                 folder.string() + ": the state folder holds the federation " + row.name +
                     ", which none of the given plans is; give its plan too or choose another "
                     "--state"};
  }
  return Ok{};
}

std::string AddressText(const std::string& host, std::uint16_t port) {
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

// Plain HTTP for programs of this machine; null where none is wanted. The bound address is written
// to STATE/metrics-address.
Result<std::unique_ptr<net::HttpServer>> ServePages(const RunOptions& options,
                                                    net::RequestHandler& pages,
                                                    const Logger& logger) {
  if (options.metrics.empty()) return std::unique_ptr<net::HttpServer>();
  FL_TRY(const HostPort where, ParseHostPort(options.metrics));
  net::HttpLimits limits;
  limits.body_bytes_max = 0;
  limits.connections_max = kPagesConnectionsMax;
  auto server = net::HttpServer::StartLocal({{}, where.host, where.port}, limits, 1, pages);
  if (!server) return server.error().At("--metrics");
  const std::string address = AddressText(where.host, (*server)->port());
  FL_TRY_OK(WriteFileAtomically(options.state / "metrics-address", AsBytes(address)));
  logger.Info({}, "metrics on http://" + address + "/metrics");
  return server;
}

}  // namespace

Result<HostPort> ParseHostPort(const std::string& text) {
  const Error error{ErrorCode::kInvalidArgument, "expected HOST:PORT, found " + text};
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) return error;
  HostPort result;
  result.host = text.substr(0, colon);
  if (result.host.front() == '[') {
    if (result.host.size() < 3 || result.host.back() != ']') return error;
    result.host = result.host.substr(1, result.host.size() - 2);
  }
  const char* end = text.data() + text.size();
  const auto [rest, code] = std::from_chars(text.data() + colon + 1, end, result.port);
  if (code != std::errc() || rest != end) return error;
  return result;
}

Result<> RunServer(const RunOptions& options, const Logger& logger) {
  BlockStopSignals();
  RaiseDescriptorLimit();
  FL_TRY(const HostPort listen, ParseHostPort(options.listen));
  FL_TRY(std::vector<ServedFederation> federations, LoadFederations(options));
  FL_TRY(const net::TlsFiles tls, net::LoadTlsFiles(options.pki, net::TlsSide::kServer));
  FL_TRY_OK(MakePrivateFolder(options.state));
  FL_TRY([[maybe_unused]] const FolderLock lock, FolderLock::Acquire(options.state));
  FL_TRY(const auto storage, OpenSqliteStorage((options.state / "state.db").string()));
  FL_TRY_OK(CheckFolderIsOurs(*storage, federations, options.state));
  const std::string first = federations.front().plan->name();
  FL_TRY(const auto shell,
         ServerShell::Create(*storage, std::move(federations), options.threads, logger,
                             options.offences, ClientLimits::Of(options.requests_per_second)));
  FL_TRY(const auto server,
         net::HttpServer::Start(listen.host, listen.port, tls, {},
                                std::max<std::size_t>(1, options.threads / 2), *shell));
  OperatorPages pages(*shell, [&server] {
    return OperatorPages::Connections{server->connections(), server->put_out()};
  });
  FL_TRY(const auto pages_server, ServePages(options, pages, logger));
  const std::string address = AddressText(listen.host, server->port());
  FL_TRY_OK(WriteFileAtomically(options.state / "address", AsBytes(address)));
  const LogScope scope{first, std::nullopt, {}};
  logger.Write(LogLevel::kInfo, scope, "listening on " + address,
               {"server", {{"state", "listening"}, {"address", address}}});
  RevocationWatch revocations(
      options.pki / net::kRevokedName, tls.revoked,
      [&server](const std::string& list) { return server->Revoke(list); }, logger);
  NotifyServiceManager("READY=1\nSTATUS=listening on " + address);
  WaitForStop(*shell, options.until_done, revocations);
  NotifyServiceManager("STOPPING=1");
  logger.Write(LogLevel::kInfo, scope, "stopping", {"server", {{"state", "stopping"}}});
  shell->Stop();
  server->Stop(kGrace);
  return Ok{};
}

}  // namespace fl::server
