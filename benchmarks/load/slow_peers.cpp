#include "fl/benchmarks/load/slow_peers.h"

#include <algorithm>

#include "fl/benchmarks/load/load_loop.h"

namespace fl::bench {
namespace {

constexpr std::size_t kTurns = 10;
constexpr int kReceiveBytes = 4096;

}  // namespace

Result<> SlowPeers::Add() {
  const std::size_t number = peers_.size();
  const auto kind = static_cast<Kind>(number % 3);
  FL_TRY(TlsLink link,
         TlsLink::Connect(context_, port_, pki_.Certify("slow-" + std::to_string(number)),
                          pki_.device_key(), kind == Kind::kReader ? kReceiveBytes : 0));
  std::string text = RequestHead("PUT", "/v1/updates/0000000000000001", 4096);
  if (kind == Kind::kReader) text = RequestHead("GET", blob_, 0);
  peers_.push_back({std::move(link), kind, false, std::move(text), 0});
  return Ok{};
}

void SlowPeers::Tick() {
  turn_ = (turn_ + 1) % kTurns;
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    SlowPeer& peer = peers_[i];
    if (!peer.link.is_open()) continue;
    if (!peer.is_handshaken) {
      const Moved done = peer.link.Handshake();
      if (done.state == Moved::State::kClosed) peer.link.Close();
      peer.is_handshaken = done.state == Moved::State::kMoved;
    }
    if (peer.is_handshaken && (i % kTurns == turn_ || peer.sent == 0)) Move(peer);
  }
}

void SlowPeers::Move(SlowPeer& peer) {
  const bool at_once = peer.kind != Kind::kHead && peer.sent == 0;
  static const std::string kRest(4096, 'x');
  const std::string& source = peer.sent < peer.text.size() ? peer.text : kRest;
  const std::size_t at = peer.sent < peer.text.size() ? peer.sent : 0;
  if (peer.kind == Kind::kReader && !at_once) return;
  const ByteSpan rest = AsBytes(source).subspan(at);
  const Moved moved = peer.link.Write(at_once ? rest : rest.first(1));
  if (moved.state == Moved::State::kClosed) peer.link.Close();
  peer.sent += moved.bytes;
}

}  // namespace fl::bench
