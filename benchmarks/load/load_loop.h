#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fl/benchmarks/load/tls_link.h"

namespace fl::bench {

// What a peer sends next: a head, and a body that must live until the answer. Where `rest` is set
// the connection says nothing more.
struct Outgoing {
  std::string head;
  ByteSpan body;
  bool rest = false;
};

struct Incoming {
  unsigned status = 0;  // 0: the server closed the connection.
  ByteSpan body;
  double seconds = 0;  // From the request's first byte to the answer's last.
};

// One end of a connection: asked for its first request, then for the next one after each answer.
class LoadPeer {
 public:
  virtual ~LoadPeer() = default;
  virtual Outgoing First() = 0;
  virtual Outgoing Next(const Incoming& answer) = 0;
};

// "POST TARGET HTTP/1.1", Host and Content-Length, and what is given.
std::string RequestHead(std::string_view method, std::string_view target, std::size_t body_bytes,
                        std::string_view headers = {});

// Many keep-alive connections on one thread, each with one request under way. Peers must outlive
// the loop. Thread safety: one thread.
class LoadLoop {
 public:
  LoadLoop(const TlsContext& context, std::uint16_t port);
  ~LoadLoop();
  LoadLoop(const LoadLoop&) = delete;
  LoadLoop& operator=(const LoadLoop&) = delete;

  // Connects; the handshake is made, and the first request sent, by Run. kIo.
  Result<> Add(LoadPeer& peer, const std::string& certificate, const crypto::Secret& key);
  // Serves the connections until `until()` is true, asked after each wait, or the time is over.
  template <typename Until>
  void Run(std::chrono::duration<double> most, Until until) {
    const auto end = std::chrono::steady_clock::now() + most;
    while (!until() && std::chrono::steady_clock::now() < end) Turn();
  }

  std::size_t open() const { return open_; }
  std::size_t handshaken() const { return handshaken_; }

 private:
  struct Connection;
  using Instant = std::chrono::steady_clock::time_point;
  void Turn();
  void Progress(Connection& connection, bool readable);
  void Send(Connection& connection);
  void Receive(Connection& connection);
  // False while the answer is not all there.
  bool TakeAnswer(Connection& connection);
  void Begin(Connection& connection, Outgoing request);
  void End(Connection& connection);

  const TlsContext& context_;
  const std::uint16_t port_;
  const int poll_;
  std::size_t open_ = 0;
  std::size_t handshaken_ = 0;
  Bytes scratch_;
  std::deque<Connection> connections_;
};

}  // namespace fl::bench
