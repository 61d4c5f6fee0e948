#pragma once

#include <deque>
#include <string>

#include "fl/benchmarks/load/server_process.h"
#include "fl/benchmarks/load/tls_link.h"

namespace fl::bench {

// Peers with valid certificates that hold connections up, in turns: one sends its request's head a
// byte at a time, one its body, one asks for a large blob and reads nothing of it.
class SlowPeers {
 public:
  // `blob`: the target of something larger than what sockets buffer.
  SlowPeers(const LoadPki& pki, const TlsContext& context, std::uint16_t port, std::string blob)
      : pki_(pki), context_(context), port_(port), blob_(std::move(blob)) {}
  // kIo.
  Result<> Add();
  // Call about ten times a second: each peer moves on about once a second.
  void Tick();

 private:
  enum class Kind : std::uint8_t { kHead, kBody, kReader };
  struct SlowPeer {
    TlsLink link;
    Kind kind = Kind::kHead;
    bool is_handshaken = false;
    std::string text;
    std::size_t sent = 0;
  };
  void Move(SlowPeer& peer);

  const LoadPki& pki_;
  const TlsContext& context_;
  const std::uint16_t port_;
  const std::string blob_;
  std::size_t turn_ = 0;
  std::deque<SlowPeer> peers_;
};

}  // namespace fl::bench
