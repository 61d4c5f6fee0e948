#include "fl/server/http/overload.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "fl/server/core/request.h"

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

}  // namespace

std::optional<net::Response> PutOff(const net::Request& request, std::size_t waiting,
                                    const OverloadLimits& limits) {
  if (request.target.starts_with("/v1/admin/") || waiting < LimitFor(request, limits)) {
    return std::nullopt;
  }
  const auto seconds = static_cast<std::uint32_t>(
      std::clamp<std::size_t>(waiting / kAnsweredPerSecond, 1, kSecondsMax));
  net::Response response = RefusalResponse(
      {ErrorCode::kUnavailable, "the server is behind with " + std::to_string(waiting) +
                                    " requests; come back in the window"},
      1000 * seconds, 2000 * seconds);
  response.headers.emplace_back("Retry-After", std::to_string(seconds));
  return response;
}

}  // namespace fl::server
