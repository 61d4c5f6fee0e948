#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <filesystem>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>

#include "fl/common/net/http.h"
#include "fl/common/net/internal/http_session.h"
#include "fl/common/net/internal/local_socket.h"
#include "fl/common/net/internal/task_group.h"
#include "fl/common/net/internal/tls_setup.h"

namespace fl::net {
namespace {

namespace asio = boost::asio;
using asio::generic::stream_protocol;
using asio::ip::tcp;
using boost::system::error_code;
using internal::HttpSession;
using internal::TaskSignal;

constexpr auto kTuple = asio::as_tuple(asio::deferred);
// How long accepting rests when the process has no file descriptor left.
constexpr auto kBackOff = std::chrono::milliseconds(100);
constexpr auto kStopStep = std::chrono::milliseconds(20);

using RevocationsPtr = std::shared_ptr<const crypto::RevocationList>;

asio::awaitable<void> RunSession(std::shared_ptr<HttpSession> session) {
  co_await session->Run();
}

class Server final : public HttpServer {
 public:
  Server(const HttpLimits& limits, RequestHandler& handler, std::string authority)
      : limits_(limits),
        handler_(handler),
        places_(limits.connections_of_peer_max),
        authority_(std::move(authority)),
        work_(io_.get_executor()),
        strand_(asio::make_strand(io_)),
        acceptor_(strand_),
        rest_(strand_) {}
  ~Server() override { Stop(Duration(0)); }

  Result<> UseTls(const TlsFiles& files);
  Result<> Listen(const std::string& host, std::uint16_t port, bool loopback_only);
  Result<> ListenLocally(const LocalEndpoint& where);
  void Run(std::size_t threads);

  std::uint16_t port() const override { return port_; }
  std::size_t connections() const override { return sessions_.size(); }
  std::uint64_t put_out() const override { return places_.put_out(); }
  Result<> Revoke(const std::string& revoked) override;
  void Stop(Duration grace) override;

 private:
  asio::awaitable<void> Accept();
  void Serve(HttpSession::Socket socket);

  const HttpLimits limits_;
  RequestHandler& handler_;
  internal::PeerPlaces places_;
  const std::string authority_;
  internal::SharedRevocations revocations_;
  std::optional<asio::ssl::context> tls_;
  asio::io_context io_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  asio::strand<asio::io_context::executor_type> strand_;  // Of the acceptor.
  asio::basic_socket_acceptor<stream_protocol> acceptor_;
  asio::steady_timer rest_;
  std::uint16_t port_ = 0;
  std::optional<internal::LocalSocketFile> socket_file_;
  std::atomic<bool> is_stopping_ = false;
  internal::TaskGroup accepting_;
  internal::TaskGroup sessions_;
  std::mutex stop_mutex_;
  std::vector<std::thread> threads_;
};

Result<> Server::UseTls(const TlsFiles& files) {
  if (!files.revoked.empty()) FL_TRY_OK(Revoke(files.revoked));
  FL_TRY(internal::SslContextPtr context, internal::MakeServerContext(files, revocations_));
  tls_.emplace(context.release());
  return Ok{};
}

Result<> Server::Listen(const std::string& host, std::uint16_t port, bool loopback_only) {
  const std::string where = host + ":" + std::to_string(port);
  error_code failed;
  const auto found = tcp::resolver(io_).resolve(host, std::to_string(port), failed);
  if (failed) {
    return Error{ErrorCode::kIo,
                 where + ": expected an address of this machine, found: " + failed.message()};
  }
  tcp::endpoint endpoint = found.begin()->endpoint();
  if (loopback_only && !endpoint.address().is_loopback()) {
    return Error{ErrorCode::kInvalidArgument,
                 where +
                     ": without TLS expected a loopback address, such as 127.0.0.1, which "
                     "other machines cannot reach; found " +
                     endpoint.address().to_string()};
  }
  acceptor_.open(endpoint.protocol(), failed);
  if (!failed) acceptor_.set_option(asio::socket_base::reuse_address(true), failed);
  if (!failed) acceptor_.bind(endpoint, failed);
  if (!failed) acceptor_.listen(asio::socket_base::max_listen_connections, failed);
  stream_protocol::endpoint bound;
  if (!failed) bound = acceptor_.local_endpoint(failed);
  if (failed) {
    return Error{ErrorCode::kIo, where + ": expected a free address, found: " + failed.message()};
  }
  std::memcpy(endpoint.data(), bound.data(), std::min(bound.size(), endpoint.capacity()));
  port_ = endpoint.port();
  return Ok{};
}

Result<> Server::ListenLocally(const LocalEndpoint& where) {
  if (where.path.empty()) return Listen(where.host, where.port, true);
  FL_TRY_OK(internal::RemoveDeadSocket(where.path));
  const asio::local::stream_protocol::endpoint endpoint(where.path);
  error_code failed;
  acceptor_.open(endpoint.protocol(), failed);
  if (!failed) acceptor_.bind(endpoint, failed);
  if (!failed) socket_file_.emplace(where.path);
  // Nobody connects before it listens.
  if (!failed) std::filesystem::permissions(where.path, internal::kSocketMode, failed);
  if (!failed) acceptor_.listen(asio::socket_base::max_listen_connections, failed);
  if (!failed) return Ok{};
  return Error{ErrorCode::kIo,
               where.path + ": expected a path for a socket, found: " + failed.message()};
}

void Server::Run(std::size_t threads) {
  accepting_.Spawn(strand_, Accept(), [this](TaskSignal) {
    asio::post(strand_, [this] {
      error_code ignored;
      acceptor_.close(ignored);
      rest_.cancel();
    });
  });
  for (std::size_t i = 0; i < threads; ++i) {
    threads_.emplace_back([this] { io_.run(); });
  }
}

asio::awaitable<void> Server::Accept() {
  while (!is_stopping_ && acceptor_.is_open()) {
    // The strand of the new connection.
    const asio::any_io_executor executor = asio::make_strand(io_);
    auto [error, socket] = co_await acceptor_.async_accept(executor, kTuple);
    if (is_stopping_) co_return;
    if (!error) {
      Serve(std::move(socket));
      continue;
    }
    rest_.expires_after(kBackOff);
    co_await rest_.async_wait(kTuple);
  }
}

void Server::Serve(HttpSession::Socket socket) {
  // Closed at once: the peer sees it sooner than a connection that nobody accepts.
  if (sessions_.size() >= limits_.connections_max) return;
  try {
    const auto executor = socket.get_executor();
    asio::ssl::context* const tls = tls_ ? &*tls_ : nullptr;
    const HttpSession::Shared shared{limits_, handler_, revocations_, places_};
    auto session = std::make_shared<HttpSession>(std::move(socket), tls, shared);
    sessions_.Spawn(executor, RunSession(session),
                    [session](TaskSignal signal) { session->Signal(signal); });
  } catch (const std::exception&) {
    // Out of memory: this connection is dropped, accepting goes on.
  }
}

Result<> Server::Revoke(const std::string& revoked) {
  auto list = crypto::RevocationList::FromPem(revoked, authority_);
  if (!list) return list.error().At("revocation list");
  auto shared = std::make_shared<const crypto::RevocationList>(std::move(*list));
  revocations_.With([&](RevocationsPtr& current) { current = std::move(shared); });
  sessions_.Send(TaskSignal::kRecheck);
  return Ok{};
}

void Server::Stop(Duration grace) {
  const std::lock_guard lock(stop_mutex_);
  if (threads_.empty()) return;
  is_stopping_ = true;
  accepting_.Send(TaskSignal::kClose);
  sessions_.Send(TaskSignal::kFinish);
  sessions_.Wait(grace);
  // Again and again: a connection may have been accepted while the others were told.
  do {
    sessions_.Send(TaskSignal::kClose);
  } while (!sessions_.Wait(kStopStep) || !accepting_.Wait(kStopStep));
  work_.reset();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::Start(const std::string& host, std::uint16_t port,
                                                      const TlsFiles& tls, const HttpLimits& limits,
                                                      std::size_t threads,
                                                      RequestHandler& handler) {
  FL_CHECK(threads >= 1, "a server needs a thread");
  auto server = std::make_unique<Server>(limits, handler, tls.authority);
  FL_TRY_OK(server->UseTls(tls));
  FL_TRY_OK(server->Listen(host, port, false));
  server->Run(threads);
  return std::unique_ptr<HttpServer>(std::move(server));
}

Result<std::unique_ptr<HttpServer>> HttpServer::StartLocal(const LocalEndpoint& where,
                                                           const HttpLimits& limits,
                                                           std::size_t threads,
                                                           RequestHandler& handler) {
  FL_CHECK(threads >= 1, "a server needs a thread");
  auto server = std::make_unique<Server>(limits, handler, std::string());
  FL_TRY_OK(server->ListenLocally(where));
  server->Run(threads);
  return std::unique_ptr<HttpServer>(std::move(server));
}

}  // namespace fl::net
