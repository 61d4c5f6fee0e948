#include "fl/benchmarks/load/transport.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "fl/benchmarks/load/fleet.h"
#include "fl/benchmarks/load/plans.h"
#include "fl/benchmarks/measure.h"
#include "fl/common/crypto/sha256.h"
#include "fl/common/net/http.h"

namespace fl::bench {
namespace {

constexpr std::size_t kPieceBytes = 1U << 20;
constexpr std::size_t kPieces = 512;
constexpr std::size_t kStepBytes = 64U << 10;
constexpr std::size_t kUpdates = 24;
constexpr auto kPatience = std::chrono::seconds(60);

using Clock = std::chrono::steady_clock;

double Since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Another process that listens and, once its port is known, serves until it is killed.
class Listener {
 public:
  explicit Listener(const std::function<void(int port_pipe)>& serve) {
    int pipe[2];
    if (::pipe(pipe) != 0) return;
    process_ = ::fork();
    if (process_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      serve(pipe[1]);
      ::_exit(0);
    }
    if (::read(pipe[0], &port_, sizeof(port_)) != sizeof(port_)) port_ = 0;
    ::close(pipe[0]);
    ::close(pipe[1]);
  }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener() {
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
  }
  std::uint16_t port() const { return port_; }

 private:
  pid_t process_ = -1;
  std::uint16_t port_ = 0;
};

void Tell(int pipe, std::uint16_t port) {
  if (::write(pipe, &port, sizeof(port)) != sizeof(port)) ::_exit(1);
}

// Reads one connection's records and answers the last byte.
void ServeRaw(const net::TlsFiles& files, int pipe) {
  const auto context = TlsContext::Server(files);
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 ||
      ::listen(listener, 1) != 0) {
    ::_exit(1);
  }
  socklen_t size = sizeof(address);
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  Tell(pipe, ntohs(address.sin_port));
  TlsLink link = TlsLink::Accept(*context, ::accept(listener, nullptr, nullptr));
  Bytes buffer(kStepBytes);
  std::size_t left = kPieceBytes * kPieces;
  while (left > 0) {
    const Moved moved = link.Read(buffer);
    if (moved.state != Moved::State::kMoved) return;
    left -= std::min(left, moved.bytes);
  }
  link.Write(ByteSpan(buffer).first(1));
  ::pause();
}

// Bytes a second.
Result<double> MeasureRaw(const LoadPki& pki) {
  const net::TlsFiles files = pki.Server();
  const Listener server([&](int pipe) { ServeRaw(files, pipe); });
  FL_TRY(const TlsContext context, TlsContext::Client(pki.authority()));
  FL_TRY(TlsLink link,
         TlsLink::ConnectBlocking(context, server.port(), pki.Certify("raw"), pki.device_key()));
  const Bytes piece(kPieceBytes, std::byte{0x5a});
  if (link.Handshake().state != Moved::State::kMoved) {
    return Error{ErrorCode::kIo, "bench: the raw loop's handshake failed"};
  }
  const auto begin = Clock::now();
  for (std::size_t i = 0; i < kPieces; ++i) {
    for (std::size_t at = 0; at < piece.size();) {
      const Moved moved = link.Write(ByteSpan(piece).subspan(at));
      if (moved.state != Moved::State::kMoved) {
        return Error{ErrorCode::kIo, "bench: the raw loop's connection broke"};
      }
      at += moved.bytes;
    }
  }
  Bytes answer(1);
  link.Read(answer);
  return static_cast<double>(kPieceBytes * kPieces) / Since(begin);
}

// Takes what comes and keeps nothing.
class Sink final : public net::RequestHandler {
 public:
  void OnRequest(net::Peer, net::Request, std::unique_ptr<net::Responder> responder) override {
    responder->Send({200, {}, {}});
  }
};

Result<net::Response> Expect200(Result<net::Response> response) {
  if (response && response->status != 200) {
    return Error{ErrorCode::kIo,
                 "bench: expected status 200, found " + std::to_string(response->status)};
  }
  return response;
}

Result<double> MeasureSink(const LoadPki& pki) {
  const net::TlsFiles files = pki.Server();
  const Listener server([&](int pipe) {
    Sink sink;
    const auto http = net::HttpServer::Start("127.0.0.1", 0, files, {}, 1, sink);
    if (!http) ::_exit(1);
    Tell(pipe, (*http)->port());
    ::pause();
  });
  FL_TRY(const auto client,
         net::HttpClient::Create("127.0.0.1", server.port(), pki.Device("sink"), {}));
  net::Request request{"PATCH", "/sink", "127.0.0.1", {}, Bytes(kPieceBytes, std::byte{0x5a})};
  FL_TRY_OK(Expect200(client->Exchange(request, kPatience)));
  const auto begin = Clock::now();
  for (std::size_t i = 0; i < kPieces; ++i) {
    FL_TRY_OK(Expect200(client->Exchange(request, kPatience)));
  }
  return static_cast<double>(kPieceBytes * kPieces) / Since(begin);
}

// From the reservation to the acknowledgement of one update in pieces of 1 MiB.
Result<double> UploadSeconds(net::HttpClient& client, const UpdateTemplate& update) {
  wire::CheckInRequest check_in;
  check_in.codecs = KnownStages();
  check_in.wait = true;
  wire::Task task;
  while (task.id == 0) {
    FL_TRY(const net::Response told,
           Expect200(client.Exchange(
               {"POST", "/v1/check-in", "127.0.0.1", {}, wire::Encode(check_in)}, kPatience)));
    FL_TRY(const auto answer, wire::Decode<wire::CheckInAnswer>(told.body));
    if (answer.task) task = *answer.task;
  }
  Bytes body;
  update.Fill(task, body);
  char target[64];
  std::snprintf(target, sizeof(target), "/v1/updates/%016llx",
                static_cast<unsigned long long>(task.id));
  const Bytes reserve = wire::Encode(wire::ReserveRequest{body.size(), crypto::Sha256(body)});
  std::vector<net::Request> requests;
  requests.push_back({"POST", std::string(target) + "/reserve", "127.0.0.1", {}, reserve});
  for (std::size_t at = 0; at < body.size(); at += kPieceBytes) {
    const ByteSpan piece = ByteSpan(body).subspan(at, std::min(kPieceBytes, body.size() - at));
    requests.push_back({"PATCH",
                        target,
                        "127.0.0.1",
                        {{"Upload-Offset", std::to_string(at)}},
                        Bytes(piece.begin(), piece.end())});
  }
  requests.push_back({"POST", std::string(target) + "/commit", "127.0.0.1", {}, reserve});
  const auto begin = Clock::now();
  for (const net::Request& request : requests) {
    FL_TRY_OK(Expect200(client.Exchange(request, kPatience)));
  }
  return Since(begin);
}

Result<double> MeasureUpload(const LoadPki& pki, const std::filesystem::path& where) {
  const ScratchFolder folder(where);
  ServeConfig serve;
  serve.plan = UpdatePlan(kHugeModel, 1);
  serve.state = folder.path();
  FL_TRY(const auto plan, MakePlan(serve.plan));
  FL_TRY(const UpdateTemplate update, UpdateTemplate::Of(*plan));
  FL_TRY(const ServerProcess server, ServerProcess::Start(serve, pki));
  FL_TRY(const auto client,
         net::HttpClient::Create("127.0.0.1", server.port(), pki.Device("device-1"), {}));
  std::vector<double> seconds;
  for (std::size_t i = 0; i < kUpdates; ++i) {
    FL_TRY(seconds.emplace_back(), UploadSeconds(*client, update));
  }
  return static_cast<double>(update.size()) / Median(std::move(seconds));
}

std::string GigabytesText(double rate, double raw) {
  char text[96];
  std::snprintf(text, sizeof(text), "%.2f GB/s; a bare OpenSSL loop: %.2f GB/s", rate / 1e9,
                raw / 1e9);
  return text;
}

}  // namespace

Result<> AddTransport(const ServerConfig& config, Report& report) {
  const LoadPki pki;
  std::vector<double> raw;
  std::vector<double> sink;
  std::vector<double> disk;
  std::vector<double> memory;
  for (std::size_t i = 0; i < config.conditions.repeats; ++i) {
    FL_TRY(raw.emplace_back(), MeasureRaw(pki));
    FL_TRY(sink.emplace_back(), MeasureSink(pki));
    FL_TRY(disk.emplace_back(), MeasureUpload(pki, std::filesystem::temp_directory_path()));
    FL_TRY(memory.emplace_back(), MeasureUpload(pki, "/dev/shm"));
  }
  const double base = Median(raw);
  const auto add = [&](const std::string& name, const std::vector<double>& rates,
                       std::optional<Bar> bar) {
    const double rate = Median(rates);
    report.Add({name, rate / base, "of a bare loop", bar, GigabytesText(rate, base)});
  };
  add("server/transport", sink, Bar::AtLeast(0.8));
  add("server/upload", disk, Bar::AtLeast(0.35));
  add("server/upload/tmpfs", memory, std::nullopt);
  return Ok{};
}

}  // namespace fl::bench
