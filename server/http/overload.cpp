#include "fl/server/http/overload.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

namespace fl::server {
namespace {

// The slowest that requests are answered at, for how long those that wait will take.
constexpr std::size_t kAnsweredPerSecond = 100;
constexpr std::size_t kSecondsMax = 60;

std::size_t LimitFor(const net::Request& request, const OverloadLimits& limits) {
  const std::string_view target = request.target;
  if (request.method == "POST" && target.ends_with("/reserve")) return limits.reservations;
  if (request.method == "PUT") return limits.updates;
  return limits.all;
}

net::Response ComeBackBehind(const std::string& why, std::size_t before) {
  const std::size_t seconds = std::clamp<std::size_t>(before / kAnsweredPerSecond, 1, kSecondsMax);
  return ComeBack({ErrorCode::kUnavailable, why + "; come back in the window"},
                  static_cast<std::uint32_t>(seconds));
}

}  // namespace

net::Response ComeBack(const Error& error, std::uint32_t seconds) {
  net::Response response = RefusalResponse(error, 1000 * seconds, 2000 * seconds);
  response.headers.emplace_back("Retry-After", std::to_string(seconds));
  return response;
}

std::optional<net::Response> PutOff(const net::Peer& peer, const net::Request& request,
                                    std::size_t waiting, const OverloadLimits& limits) {
  if (peer.role == net::Role::kAdmin || waiting < LimitFor(request, limits)) return std::nullopt;
  return ComeBackBehind("the server is behind with " + std::to_string(waiting) + " requests",
                        waiting);
}

std::optional<net::Response> UploadsUnderWay::Take(const std::string& client,
                                                   const DecodedRequest& request, TimePoint now) {
  const bool reserves = std::holds_alternative<UploadReserve>(request);
  const bool goes_on = std::holds_alternative<UploadChunk>(request);
  const bool ends = std::holds_alternative<UploadCommit>(request);
  if (!reserves && !goes_on && !ends) return std::nullopt;
  return seen_.With([&](Seen& seen) -> std::optional<net::Response> {
    if (ends) seen.erase(client);
    if (goes_on && seen.contains(client)) seen[client] = now;
    if (!reserves) return std::nullopt;
    if (seen.size() >= most_ && !seen.contains(client)) {
      std::erase_if(seen, [&](const auto& one) { return one.second + patience_ <= now; });
      if (seen.size() >= most_) {
        return ComeBackBehind(std::to_string(seen.size()) + " uploads are under way", seen.size());
      }
    }
    seen[client] = now;
    return std::nullopt;
  });
}

}  // namespace fl::server
