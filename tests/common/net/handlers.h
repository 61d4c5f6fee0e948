#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "fl/common/base/guarded.h"
#include "fl/common/net/http.h"

namespace fl::testing {

// Answers at once with the request's method, target, peer and body.
class EchoHandler final : public net::RequestHandler {
 public:
  void OnRequest(net::Peer peer, net::Request request,
                 std::unique_ptr<net::Responder> responder) override {
    count_.With([](std::size_t& count) { count += 1; });
    net::Response response;
    response.headers.emplace_back("Echo-Method", request.method);
    response.headers.emplace_back("Echo-Target", request.target);
    response.headers.emplace_back("Echo-Peer", peer.name);
    response.headers.emplace_back("Echo-Role", peer.role == net::Role::kAdmin ? "admin" : "client");
    response.body = std::move(request.body);
    responder->Send(std::move(response));
  }
  std::size_t count() {
    return count_.With([](const std::size_t& count) { return count; });
  }

 private:
  Guarded<std::size_t> count_;
};

// Keeps the responders, for a test to answer when it wants.
class HoldingHandler final : public net::RequestHandler {
 public:
  void OnRequest(net::Peer, net::Request, std::unique_ptr<net::Responder> responder) override {
    const std::lock_guard lock(mutex_);
    held_.push_back(std::move(responder));
    changed_.notify_all();
  }
  // Waits until a request has arrived.
  std::unique_ptr<net::Responder> Take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !held_.empty(); });
    auto responder = std::move(held_.back());
    held_.pop_back();
    return responder;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::unique_ptr<net::Responder>> held_;
};

}  // namespace fl::testing
