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

net::Response ComeBack(const std::string& why, std::size_t before) {
  const auto seconds = static_cast<std::uint32_t>(
      std::clamp<std::size_t>(before / kAnsweredPerSecond, 1, kSecondsMax));
  net::Response response = RefusalResponse(
      {ErrorCode::kUnavailable, why + "; come back in the window"}, 1000 * seconds, 2000 * seconds);
  response.headers.emplace_back("Retry-After", std::to_string(seconds));
  return response;
}

}  // namespace

std::optional<net::Response> PutOff(const net::Request& request, std::size_t waiting,
                                    const OverloadLimits& limits) {
  if (request.target.starts_with("/v1/admin/") || waiting < LimitFor(request, limits)) {
    return std::nullopt;
  }
  return ComeBack("the server is behind with " + std::to_string(waiting) + " requests", waiting);
}

std::optional<net::Response> UploadsUnderWay::Take(const DecodedRequest& request, TimePoint now) {
  const auto* reserve = std::get_if<UploadReserve>(&request);
  const auto* chunk = std::get_if<UploadChunk>(&request);
  const auto* commit = std::get_if<UploadCommit>(&request);
  return seen_.With([&](Seen& seen) -> std::optional<net::Response> {
    if (commit != nullptr) seen.erase(commit->task.value);
    if (chunk != nullptr && seen.contains(chunk->task.value)) seen[chunk->task.value] = now;
    if (reserve == nullptr) return std::nullopt;
    if (seen.size() >= most_ && !seen.contains(reserve->task.value)) {
      std::erase_if(seen, [&](const auto& one) { return one.second + patience_ <= now; });
      if (seen.size() >= most_) {
        return ComeBack(std::to_string(seen.size()) + " uploads are under way", seen.size());
      }
    }
    seen[reserve->task.value] = now;
    return std::nullopt;
  });
}

}  // namespace fl::server
