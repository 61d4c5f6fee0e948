#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "fl/common/base/digest.h"
#include "fl/common/net/message.h"
#include "fl/common/wire/messages.h"

// The four kinds of exchange as values: what a request asks for, once its route, role, headers and
// body were checked.
namespace fl::server {

inline constexpr std::size_t kChunkBytesMax = 1U << 20;

struct CheckIn {
  wire::CheckInRequest message;
};
// First and last byte, both included; an absent last one stands for the end.
struct ByteRange {
  std::uint64_t first = 0;
  std::optional<std::uint64_t> last;
};
struct ReadBlob {
  Digest digest;
  std::optional<ByteRange> range;
};
// The whole update in one request; the bytes stay in the request's body.
struct UploadWhole {
  TaskId task;
};
struct UploadReserve {
  TaskId task;
  wire::ReserveRequest message;
};
// A chunk; the bytes stay in the request's body.
struct UploadChunk {
  TaskId task;
  std::uint64_t offset = 0;
};
struct UploadOffset {
  TaskId task;
};
struct UploadCommit {
  TaskId task;
  wire::ReserveRequest message;
};
enum class AdminPage : std::uint8_t { kStatus, kClients, kReport, kModel, kEvents, kRefusals };
struct AdminRead {
  AdminPage page = AdminPage::kStatus;
  std::string federation;  // Empty: the only one.
};
enum class AdminAction : std::uint8_t { kStart, kPause, kStop };
struct AdminOrder {
  AdminAction action = AdminAction::kStart;
  std::string federation;
};

// Lifts what repeated refusals have brought upon a client.
struct AllowClient {
  std::string client;
  std::string federation;  // Empty: the only one.
};

using DecodedRequest = std::variant<CheckIn, ReadBlob, UploadWhole, UploadReserve, UploadChunk,
                                    UploadOffset, UploadCommit, AdminRead, AdminOrder, AllowClient>;

// Reads method, target, headers and body. A route that is not listed does not exist (kNotFound); a
// client never reaches an admin route and an admin never a client's (kUnauthorized); else
// kMalformed, kLimitExceeded. Pure.
Result<DecodedRequest> DecodeRequest(const net::Peer& peer, const net::Request& request);

// The task that an upload request is about.
std::optional<TaskId> TaskOf(const DecodedRequest& request);
bool IsAdmin(const DecodedRequest& request);

// The last segment of the certificate's URI: "device-7" of "spiffe://fl/fleet/device-7".
std::string ClientName(const net::Peer& peer);

// An answer that refuses, with the HTTP status that fits the code: a wire::Refusal, or JSON for
// admins.
net::Response RefusalResponse(const Error& error, std::uint32_t again_min_ms = 0,
                              std::uint32_t again_max_ms = 0);
net::Response AdminRefusalResponse(const Error& error);
// Either, to an admin: one whose certificate lies in a device's folder asks for a device's routes.
net::Response RefusalOfAdmin(const net::Request& request, const Error& error);
unsigned HttpStatusOf(ErrorCode code);

}  // namespace fl::server
