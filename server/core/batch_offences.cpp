#include <algorithm>

#include "fl/common/base/error_detail.h"
#include "fl/server/core/admin.h"
#include "fl/server/core/batch.h"
#include "fl/server/core/offences.h"

namespace fl::server {
namespace {

constexpr std::size_t kMessageBytesMax = 256;  // Of a refusal that is kept.

// From now until then, and a quarter as long again, so that nobody comes too early.
net::Response WaitUntil(const OffenderRow& row, TimePoint now) {
  constexpr std::int64_t kMsMax = std::int64_t{1} << 31U;
  const std::int64_t left = (row.held_until - now) / std::chrono::milliseconds(1) + 1;
  const auto least = static_cast<std::uint32_t>(std::clamp<std::int64_t>(left, 1, kMsMax));
  return RefusalResponse(HeldOffError(row), least, least + least / 4);
}

}  // namespace

// The answer to a client that has to wait still. The first thing that is asked of a request.
Result<std::optional<net::Response>> Batch::HoldOff(const std::string& client) {
  client_ = client;
  FL_TRY(offender_, transaction_.FindOffender(plan_.name(), client));
  if (!offender_ || offender_->held_until <= now_) return std::optional<net::Response>();
  ++account_.refused[ErrorCode::kUnavailable];
  return std::optional(WaitUntil(*offender_, now_));
}

// Counts and keeps what the client whose request this is did wrong.
Result<> Batch::NoteRefusal(const Error& error, std::uint64_t round) {
  FL_TRY_OK(transaction_.AddRefusal(plan_.name(), round, error.code));
  if (client_.empty() || !IsOffence(error.code)) return Ok{};
  FL_TRY_OK(transaction_.Add(RefusedRow{plan_.name(), now_, round, client_, error.code,
                                        error.detail, error.message.substr(0, kMessageBytesMax)}));
  if (!offender_) offender_ = OffenderRow{plan_.name(), client_, 0, {}, {}, false};
  if (CountOffence(options_.offences, now_, *offender_)) {
    FL_TRY_OK(Note("denied " + client_ + " for " +
                   std::to_string(static_cast<std::uint64_t>(options_.offences.deny_s)) +
                   " s: " + std::to_string(offender_->offences) +
                   " requests in a row were refused, the last one as " +
                   std::string(ErrorCodeName(error.code))));
  }
  return transaction_.Put(*offender_);
}

// After an accepted update.
Result<> Batch::Forgive() {
  if (!offender_) return Ok{};
  offender_.reset();
  return transaction_.DropOffender(plan_.name(), client_);
}

Result<net::Response> Batch::Allow(const AllowClient& order) {
  if (!order.federation.empty() && order.federation != plan_.name()) {
    return AdminRefusalResponse(
        {ErrorCode::kNotFound, "no federation is called " + order.federation});
  }
  FL_TRY(const auto row, transaction_.FindOffender(plan_.name(), order.client));
  if (!row) {
    return AdminRefusalResponse(
        {ErrorCode::kNotFound, order.client + ": expected a client that is held off or denied"});
  }
  FL_TRY_OK(transaction_.DropOffender(plan_.name(), order.client));
  FL_TRY_OK(Note("allowed " + order.client + " by an admin"));
  FL_TRY_OK(Save());
  return RenderAdminPage(transaction_, plan_, AdminPage::kRefusals, view_);
}

}  // namespace fl::server
