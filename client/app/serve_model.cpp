#include <charconv>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fl/client/app/commands.h"
#include "fl/client/app/stop_signal.h"
#include "fl/client/serve/drift_file.h"
#include "fl/client/serve/local_service.h"
#include "fl/client/state/device_folder.h"
#include "fl/common/base/file.h"
#include "fl/common/net/http.h"

namespace fl::client {
namespace {

namespace fs = std::filesystem;

constexpr Duration kLookEvery = std::chrono::milliseconds(200);
constexpr Duration kWriteEvery = std::chrono::seconds(2);
constexpr Duration kGrace = std::chrono::seconds(1);  // For each of two servers at most.
constexpr std::size_t kConnectionsMax = 256;

// "127.0.0.1:8080", "[::1]:0".
Result<net::LocalEndpoint> ParseListen(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  net::LocalEndpoint endpoint;
  if (colon != std::string::npos && colon > 0) {
    endpoint.host = text.substr(0, colon);
    if (endpoint.host.starts_with('[') && endpoint.host.ends_with(']')) {
      endpoint.host = endpoint.host.substr(1, endpoint.host.size() - 2);
    }
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data() + colon + 1, end, endpoint.port);
    if (error == std::errc() && rest == end && !endpoint.host.empty()) return endpoint;
  }
  return Error{ErrorCode::kInvalidArgument,
               "--listen: expected HOST:PORT, HOST a loopback address, found " + text};
}

// Where the call says; a Unix socket in the state folder where it does not.
Result<std::vector<net::LocalEndpoint>> EndpointsOf(const ServeCall& call) {
  std::vector<net::LocalEndpoint> endpoints;
  if (!call.socket.empty()) endpoints.push_back({call.socket, {}, 0});
  if (!call.listen.empty()) {
    FL_TRY(net::LocalEndpoint endpoint, ParseListen(call.listen));
    endpoints.push_back(std::move(endpoint));
  }
  if (endpoints.empty())
    endpoints.push_back({(fs::path(call.state) / "serve.sock").string(), {}, 0});
  return endpoints;
}

std::string AddressText(const net::LocalEndpoint& endpoint, std::uint16_t port) {
  if (!endpoint.path.empty()) return "unix:" + endpoint.path;
  const bool v6 = endpoint.host.find(':') != std::string::npos;
  return (v6 ? "[" + endpoint.host + "]" : endpoint.host) + ":" + std::to_string(port);
}

}  // namespace

Result<> Serve(const ServeCall& call) {
  FL_TRY(const std::vector<net::LocalEndpoint> endpoints, EndpointsOf(call));
  std::error_code ignored;
  if (!fs::is_directory(call.state, ignored)) {
    return Error{
        ErrorCode::kNotFound,
        call.state + ": expected a device's state folder, found none; run the device first"};
  }
  const fs::path folder = DriftFolder(call.state);
  FL_TRY_OK(MakePrivateFolder(folder));
  FL_TRY([[maybe_unused]] const FolderLock lock, FolderLock::Acquire(folder));
  StopSignal stop;
  const SignalListener listener([&] { stop.Request(); });
  const Logger log(call.log_level, call.log_format);

  const ModelSlot slot(InstalledStore(DeviceFolder::LocalPath(call.state)), log, kLookEvery);
  LocalService service(slot);
  net::HttpLimits limits;
  limits.connections_max = kConnectionsMax;
  std::vector<std::unique_ptr<net::HttpServer>> servers;
  std::string address;
  for (const net::LocalEndpoint& endpoint : endpoints) {
    FL_TRY(std::unique_ptr<net::HttpServer> server,
           net::HttpServer::StartLocal(endpoint, limits, 1, service));
    // Of two the one with a port, which only this file tells.
    address = AddressText(endpoint, server->port());
    log.Info({}, "listening on " + address);
    servers.push_back(std::move(server));
  }
  FL_TRY_OK(WriteFileAtomically(fs::path(call.state) / "serve-address", AsBytes(address), 0600));
  DriftFile drift(folder, log);
  while (!stop.requested()) {
    stop.SleepFor(kWriteEvery);
    if (!stop.requested()) drift.Write(service.DescribeDrift());
  }
  log.Info({}, "stopping");
  for (const auto& server : servers) server->Stop(kGrace);
  service.Stop();
  drift.Write(service.DescribeDrift());
  return {};
}

}  // namespace fl::client
