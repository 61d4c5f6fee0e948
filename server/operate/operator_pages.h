#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "fl/common/net/http.h"
#include "fl/server/http/server_shell.h"

namespace fl::server {

// What the machine's own monitoring reads, by GET alone: /metrics (Prometheus' text format),
// /healthz (200 while the process answers) and /readyz (200 when each federation is loaded and its
// storage takes a write at this moment, else 503 with the reason). Meant for HttpServer::StartLocal
// with one thread, which /readyz may hold for some seconds. Thread safety: shared objects safe.
class OperatorPages final : public net::RequestHandler {
 public:
  // Of HttpServer.
  struct Connections {
    std::size_t open = 0;
    std::uint64_t put_out = 0;
  };
  // `shell` must outlive the pages.
  OperatorPages(ServerShell& shell, std::function<Connections()> connections)
      : shell_(shell), connections_(std::move(connections)) {}

  void OnRequest(net::Peer peer, net::Request request,
                 std::unique_ptr<net::Responder> responder) override;

 private:
  net::Response Answer(const net::Request& request);
  std::string RenderMetrics() const;

  ServerShell& shell_;
  std::function<Connections()> connections_;
};

}  // namespace fl::server
