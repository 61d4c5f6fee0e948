#include <charconv>
#include <filesystem>
#include <memory>
#include <utility>

#include "fl/client/app/commands.h"
#include "fl/client/app/device_shell.h"
#include "fl/client/app/stop_signal.h"
#include "fl/client/state/file_content_cache.h"
#include "fl/common/base/guarded.h"
#include "fl/common/crypto/certificate.h"
#include "fl/common/data/source.h"

namespace fl::client {
namespace {

struct Address {
  std::string host;
  std::uint16_t port = 0;
};

Result<Address> ParseAddress(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  Address address;
  if (colon != std::string::npos && colon > 0) {
    const char* first = text.data() + colon + 1;
    const char* last = text.data() + text.size();
    const auto [end, error] = std::from_chars(first, last, address.port);
    if (error == std::errc() && end == last && first != last && address.port > 0) {
      address.host = text.substr(0, colon);
      return address;
    }
  }
  return Error{ErrorCode::kInvalidArgument, "--server: expected HOST:PORT, found " + text};
}

// A missing file is reported at the start; whether the data fit is known with the first plan.
Result<> CheckDataExist(const std::string& source) {
  const auto dataset = data::OpenSource(source, {});
  if (!dataset && dataset.error().code == ErrorCode::kNotFound) {
    return dataset.error().At("--data");
  }
  return {};
}

}  // namespace

Result<> RunDevice(const RunCall& call) {
  FL_TRY(const Address address, ParseAddress(call.server));
  FL_TRY(const net::TlsFiles tls, net::LoadTlsFiles(call.pki, net::TlsSide::kClient));
  FL_TRY(const crypto::CertificateInfo certificate, crypto::ReadCertificate(tls.certificate));
  FL_TRY_OK(CheckDataExist(call.data));
  FL_TRY(DeviceFolder folder, DeviceFolder::Open(call.state));

  // Before the connection, whose threads then leave the signals to the listener.
  StopSignal stop;
  Guarded<net::HttpClient*> cancelled(nullptr);
  const SignalListener listener([&] {
    stop.Request();
    cancelled.With([](net::HttpClient* http) {
      if (http != nullptr) http->Cancel();
    });
  });
  FL_TRY(const std::unique_ptr<net::HttpClient> http,
         net::HttpClient::Create(address.host, address.port, tls, net::HttpLimits()));
  cancelled.With([&](net::HttpClient*& target) { target = http.get(); });

  FileContentCache cache(folder.cache_path());
  ClientOptions options;
  options.name = certificate.name;
  options.federation = call.federation;
  options.host = call.server;
  options.stop_when_done = call.until_done;
  auto core = ClientCore::Create(std::move(options), folder.TakeState(), cache);
  if (!core) return core.error().At(call.state);

  SystemClock clock;
  const Logger log(call.log_level, call.log_format);
  DeviceShell shell(*std::move(core), {folder, *http, cache, clock, log, stop}, call.data);
  Result<> outcome = shell.Run();
  cancelled.With([](net::HttpClient*& target) { target = nullptr; });
  if (!outcome && stop.requested()) return {};
  return outcome;
}

}  // namespace fl::client
