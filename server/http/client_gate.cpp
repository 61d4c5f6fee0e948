#include "fl/server/http/client_gate.h"

#include <algorithm>

#include "fl/common/base/error_detail.h"
#include "fl/common/wire/messages.h"
#include "fl/server/http/overload.h"

namespace fl::server {
namespace {

constexpr Duration kPauseMax = std::chrono::seconds(1);
constexpr std::size_t kPieceBytes = 64U << 10;
constexpr int kPiecesForARequest = 8;
constexpr std::size_t kFirstSweep = 1024;
constexpr Duration kBetweenSweeps = std::chrono::seconds(1);
constexpr std::uint64_t kBurstSeconds = 10;
constexpr std::uint64_t kBurstMin = 200;
constexpr unsigned kUnavailableStatus = 503;

// A piece moves many bytes, which its sender waits for, too.
bool IsPiece(const net::Request& request) {
  if (request.method == "PATCH") return request.body.size() >= kPieceBytes;
  return request.method == "GET" && request.target.starts_with("/v1/blobs/");
}

}  // namespace

ClientLimits ClientLimits::Of(std::uint64_t requests_per_second) {
  ClientLimits limits;
  limits.requests_per_second = requests_per_second;
  limits.burst = std::max(kBurstMin, kBurstSeconds * requests_per_second);
  return limits;
}

ClientGate::ClientGate(const ClientLimits& limits)
    : limits_(limits),
      cost_(limits.requests_per_second == 0
                ? Duration(0)
                : Duration(std::chrono::seconds(1)) /
                      static_cast<Duration::rep>(limits.requests_per_second)),
      capacity_(cost_ * static_cast<Duration::rep>(limits.burst)),
      clients_(Clients{{}, std::min(kFirstSweep, limits.clients_max), {}}) {}

ClientGate::Client* ClientGate::Find(Clients& clients, const std::string& name,
                                     TimePoint now) const {
  auto& known = clients.known;
  if (const auto found = known.find(name); found != known.end()) return &found->second;
  if (known.size() >= clients.sweep_at && now >= clients.sweep_after) {
    std::erase_if(known, [now](const auto& one) {
      return one.second.full_at <= now && one.second.paused_until <= now;
    });
    clients.sweep_at = std::clamp(2 * known.size(), std::min(kFirstSweep, limits_.clients_max),
                                  limits_.clients_max);
    clients.sweep_after = now + kBetweenSweeps;
  }
  if (known.size() >= limits_.clients_max) return nullptr;
  return &known.try_emplace(name).first->second;
}

std::optional<net::Response> ClientGate::Take(const net::Peer& peer, const net::Request& request,
                                              TimePoint now) {
  if (cost_ == Duration(0) || peer.role == net::Role::kAdmin) return std::nullopt;
  const Duration cost = IsPiece(request) ? cost_ / kPiecesForARequest : cost_;
  const bool is_taken = clients_.With([&](Clients& clients) {
    Client* const client = Find(clients, peer.name, now);
    if (client == nullptr) return true;
    const TimePoint full_at = std::max(client->full_at, now) + cost;
    if (full_at > now + capacity_) return false;
    client->full_at = full_at;
    return true;
  });
  if (is_taken) return std::nullopt;
  return ComeBack(
      {ErrorCode::kUnavailable,
       "expected at most " + std::to_string(limits_.requests_per_second) + " requests a second",
       ErrorDetail::kTooManyRequests},
      1);
}

void ClientGate::NoteAnswer(const net::Peer& peer, const net::Response& answer, PutOffReason why,
                            TimePoint now) {
  if (answer.status != kUnavailableStatus || peer.role == net::Role::kAdmin) return;
  const auto refusal = wire::Decode<wire::Refusal>(answer.body);
  if (!refusal || refusal->again_min_ms == 0) return;
  put_off_[static_cast<std::size_t>(why)].Add(1);
  const Duration window = std::chrono::milliseconds(refusal->again_min_ms);
  const TimePoint until = now + std::min(window, kPauseMax);
  clients_.With([&](Clients& clients) {
    Client* const client = Find(clients, peer.name, now);
    if (client != nullptr) client->paused_until = until;
  });
}

Duration ClientGate::PauseOf(const net::Peer& peer, TimePoint now) {
  if (peer.role == net::Role::kAdmin) return Duration(0);
  const TimePoint until = clients_.With([&](Clients& clients) {
    const auto found = clients.known.find(peer.name);
    return found == clients.known.end() ? now : found->second.paused_until;
  });
  if (until <= now) return Duration(0);
  paused_.Add(1);
  return until - now;
}

std::size_t ClientGate::clients() {
  return clients_.With([](const Clients& clients) { return clients.known.size(); });
}

}  // namespace fl::server
