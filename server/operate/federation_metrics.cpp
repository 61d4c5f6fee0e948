#include "fl/server/operate/federation_metrics.h"

#include <algorithm>
#include <variant>

namespace fl::server {
namespace {

RequestKind KindOf(const DecodedRequest& request) {
  if (std::holds_alternative<CheckIn>(request)) return RequestKind::kCheckIn;
  if (std::holds_alternative<ReadBlob>(request)) return RequestKind::kBlob;
  return IsAdmin(request) ? RequestKind::kAdmin : RequestKind::kUpload;
}

template <std::size_t N>
Counter& At(std::array<Counter, N>& counters, std::size_t number) {
  return counters[number < N ? number : 0];
}

}  // namespace

void TimeHistogram::Add(Clock::duration took) {
  const auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(took).count();
  const double seconds = static_cast<double>(nanoseconds) * 1e-9;
  const auto bound = std::ranges::lower_bound(kBounds, seconds);
  counts_[static_cast<std::size_t>(bound - kBounds.begin())].Add(1);
  nanoseconds_.Add(static_cast<std::uint64_t>(std::max<std::int64_t>(nanoseconds, 0)));
}

void FederationMetrics::CountRequest(const Result<DecodedRequest>& request) {
  const RequestKind kind = request ? KindOf(*request) : RequestKind::kUnreadable;
  requests[static_cast<std::size_t>(kind)].Add(1);
}

void FederationMetrics::Take(const BatchAccount& account) {
  for (const auto& [code, count] : account.refused) {
    At(refused, static_cast<std::size_t>(code)).Add(count);
  }
  for (const auto& [kind, count] : account.accepted) {
    At(accepted, static_cast<std::size_t>(kind)).Add(count);
  }
  bytes_up.Add(account.traffic.bytes_up);
  bytes_down.Add(account.traffic.bytes_down);
  body_bytes_up.Add(account.traffic.body_bytes_up);
  body_bytes_down.Add(account.traffic.body_bytes_down);
  for (const RoundRow& row : account.rounds) {
    if (row.state == RoundState::kPublished) rounds_published.Add(1);
    if (row.state == RoundState::kAbandoned) rounds_abandoned.Add(1);
  }
  const Standing& standing = account.standing;
  state.Set(static_cast<std::uint64_t>(standing.state));
  version.Set(standing.version);
  clients.Set(standing.clients);
  round.Set(standing.round);
  cohort.Set(standing.cohort);
  round_accepted.Set(standing.accepted);
}

}  // namespace fl::server
