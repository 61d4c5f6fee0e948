#include "fl/server/core/request.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

#include <nlohmann/json.hpp>

#include "fl/common/base/error_detail.h"
#include "fl/common/wire/protocol_version.h"

namespace fl::server {
namespace {

Error NoRoute(const net::Request& request) {
  return {ErrorCode::kNotFound, "no such request: " + request.method + " " + request.target,
          ErrorDetail::kRouteUnknown};
}

std::optional<std::uint64_t> ParseNumber(std::string_view text, int base) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<TaskId> ParseTask(std::string_view text) {
  if (text.size() != 16 || text.find_first_not_of("0123456789abcdef") != std::string_view::npos) {
    return std::nullopt;
  }
  const auto value = ParseNumber(text, 16);
  return value ? std::optional(TaskId{*value}) : std::nullopt;
}

// "bytes=FIRST-LAST" or "bytes=FIRST-"; absent: the whole.
Result<std::optional<ByteRange>> ParseRange(const net::Request& request) {
  std::string_view text = net::FindHeader(request.headers, "Range");
  if (text.empty()) return std::optional<ByteRange>();
  const Error malformed{ErrorCode::kMalformed,
                        "Range: expected bytes=FIRST-LAST, found another form",
                        ErrorDetail::kRangeSyntax};
  if (!text.starts_with("bytes=")) return malformed;
  text.remove_prefix(6);
  const std::size_t dash = text.find('-');
  if (dash == std::string_view::npos) return malformed;
  const auto first = ParseNumber(text.substr(0, dash), 10);
  if (!first) return malformed;
  ByteRange range{*first, std::nullopt};
  if (dash + 1 < text.size()) {
    range.last = ParseNumber(text.substr(dash + 1), 10);
    if (!range.last || *range.last < range.first) return malformed;
  }
  return std::optional(range);
}

Result<DecodedRequest> DecodeBlob(std::string_view hex, const net::Request& request) {
  if (request.method != "GET") return NoRoute(request);
  const Result<Digest> digest = DigestFromHex(hex);
  if (!digest) {
    return Error{ErrorCode::kMalformed, "blob: " + digest.error().message,
                 ErrorDetail::kDigestSyntax};
  }
  FL_TRY(const auto range, ParseRange(request));
  return DecodedRequest(ReadBlob{*digest, range});
}

Result<DecodedRequest> DecodeChunk(TaskId task, const net::Request& request) {
  const auto offset = ParseNumber(net::FindHeader(request.headers, "Upload-Offset"), 10);
  if (!offset) {
    return Error{ErrorCode::kMalformed, "Upload-Offset: expected a number, found none",
                 ErrorDetail::kOffsetSyntax};
  }
  return DecodedRequest(UploadChunk{task, *offset});
}

Result<DecodedRequest> DecodeUpload(std::string_view rest, const net::Request& request) {
  const std::size_t slash = rest.find('/');
  const std::optional<TaskId> task = ParseTask(rest.substr(0, slash));
  if (!task) {
    return Error{ErrorCode::kMalformed, "task: expected 16 lower-case hexadecimal digits",
                 ErrorDetail::kTaskSyntax};
  }
  const std::string_view verb =
      slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
  if (request.body.size() > kChunkBytesMax) {
    return Error{
        ErrorCode::kLimitExceeded,
        "body: expected at most 1048576 bytes, found " + std::to_string(request.body.size()),
        ErrorDetail::kBodyBytes};
  }
  if (verb.empty() && slash == std::string_view::npos) {
    if (request.method == "PUT") return DecodedRequest(UploadWhole{*task});
    if (request.method == "HEAD") return DecodedRequest(UploadOffset{*task});
    if (request.method == "PATCH") return DecodeChunk(*task, request);
  } else if (request.method == "POST" && (verb == "reserve" || verb == "commit")) {
    FL_TRY(const auto message, wire::Decode<wire::ReserveRequest>(request.body));
    if (verb == "reserve") return DecodedRequest(UploadReserve{*task, message});
    return DecodedRequest(UploadCommit{*task, message});
  }
  return NoRoute(request);
}

Result<DecodedRequest> DecodeClientRequest(const net::Request& request) {
  const std::string_view target = request.target;
  constexpr std::string_view kBlobs = "/v1/blobs/";
  constexpr std::string_view kUpdates = "/v1/updates/";
  if (target == "/v1/check-in" && request.method == "POST") {
    FL_TRY_OK(wire::CheckProtocol(request.body, "the server", "the client"));
    FL_TRY(auto message, wire::Decode<wire::CheckInRequest>(request.body));
    return DecodedRequest(CheckIn{std::move(message)});
  }
  if (target.starts_with(kBlobs)) return DecodeBlob(target.substr(kBlobs.size()), request);
  if (target.starts_with(kUpdates)) return DecodeUpload(target.substr(kUpdates.size()), request);
  return NoRoute(request);
}

struct AdminQuery {
  std::string federation;
  std::string client;
};

// "federation=NAME", "client=NAME" or both, with & between them.
Result<AdminQuery> ParseQuery(std::string_view text) {
  AdminQuery query;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find('&'));
    text.remove_prefix(std::min(text.size(), part.size() + 1));
    const std::size_t equals = part.find('=');
    const std::string_view key = part.substr(0, equals);
    const bool known = key == "federation" || key == "client";
    if (!known || equals == std::string_view::npos) {
      return Error{ErrorCode::kInvalidArgument, "query: expected federation=NAME or client=NAME"};
    }
    (key == "client" ? query.client : query.federation) = part.substr(equals + 1);
  }
  return query;
}

Result<DecodedRequest> DecodeAdminRequest(const net::Request& request) {
  const std::string_view target = request.target;
  const std::size_t question = target.find('?');
  const std::string_view path = target.substr(0, question);
  AdminQuery query;
  if (question != std::string_view::npos) {
    FL_TRY(query, ParseQuery(target.substr(question + 1)));
  }
  const std::string& federation = query.federation;
  constexpr std::array<std::pair<std::string_view, AdminPage>, 6> kPages = {{
      {"/v1/admin/status", AdminPage::kStatus},
      {"/v1/admin/clients", AdminPage::kClients},
      {"/v1/admin/report", AdminPage::kReport},
      {"/v1/admin/model", AdminPage::kModel},
      {"/v1/admin/events", AdminPage::kEvents},
      {"/v1/admin/refusals", AdminPage::kRefusals},
  }};
  constexpr std::array<std::pair<std::string_view, AdminAction>, 3> kActions = {{
      {"/v1/admin/start", AdminAction::kStart},
      {"/v1/admin/pause", AdminAction::kPause},
      {"/v1/admin/stop", AdminAction::kStop},
  }};
  if (path == "/v1/admin/allow" && request.method == "POST") {
    if (query.client.empty()) {
      return Error{ErrorCode::kInvalidArgument, "query: expected client=NAME"};
    }
    return DecodedRequest(AllowClient{query.client, federation});
  }
  for (const auto& [name, page] : kPages) {
    if (path == name && request.method == "GET") return DecodedRequest(AdminRead{page, federation});
  }
  for (const auto& [name, action] : kActions) {
    if (path == name && request.method == "POST") {
      return DecodedRequest(AdminOrder{action, federation});
    }
  }
  return NoRoute(request);
}

}  // namespace

Result<DecodedRequest> DecodeRequest(const net::Peer& peer, const net::Request& request) {
  const bool admin_route = request.target.starts_with("/v1/admin/");
  const bool admin = peer.role == net::Role::kAdmin;
  if (admin_route != admin) {
    return Error{ErrorCode::kUnauthorized,
                 request.target + ": expected " + (admin_route ? "an admin" : "a client") +
                     "'s certificate, found " + peer.name,
                 ErrorDetail::kRoleWrong};
  }
  return admin ? DecodeAdminRequest(request) : DecodeClientRequest(request);
}

std::optional<TaskId> TaskOf(const DecodedRequest& request) {
  return std::visit(
      [](const auto& body) -> std::optional<TaskId> {
        if constexpr (requires { body.task; }) {
          return body.task;
        } else {
          return std::nullopt;
        }
      },
      request);
}

bool IsAdmin(const DecodedRequest& request) {
  return std::holds_alternative<AdminRead>(request) ||
         std::holds_alternative<AdminOrder>(request) ||
         std::holds_alternative<AllowClient>(request);
}

std::string ClientName(const net::Peer& peer) {
  return peer.name.substr(peer.name.find_last_of('/') + 1);
}

unsigned HttpStatusOf(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInternal:
    case ErrorCode::kIo:
      return 500;
    case ErrorCode::kNotFound:
    case ErrorCode::kUnknownTask:
      return 404;
    case ErrorCode::kUnauthorized:
      return 403;
    case ErrorCode::kLimitExceeded:
      return 413;
    case ErrorCode::kConflict:
    case ErrorCode::kUnavailable:
      return 503;
    case ErrorCode::kDuplicate:
    case ErrorCode::kNotNeeded:
    case ErrorCode::kWrongOffset:
    case ErrorCode::kWrongState:
      return 409;
    case ErrorCode::kTooLate:
      return 410;
    default:
      return 400;
  }
}

net::Response RefusalResponse(const Error& error, std::uint32_t again_min_ms,
                              std::uint32_t again_max_ms) {
  wire::Refusal refusal;
  refusal.code = static_cast<std::uint16_t>(error.code);
  refusal.message = error.message.substr(0, wire::MessageLimits{}.text_bytes_max);
  refusal.again_min_ms = again_min_ms;
  refusal.again_max_ms = again_max_ms;
  net::Response response{HttpStatusOf(error.code), {}, wire::Encode(refusal)};
  const std::string_view detail = ErrorDetailName(error.detail);
  if (!detail.empty()) response.headers.emplace_back(wire::kDetailHeader, detail);
  return response;
}

net::Response AdminRefusalResponse(const Error& error) {
  nlohmann::json body;
  body["error"]["code"] = std::string(ErrorCodeName(error.code));
  const std::string_view detail = ErrorDetailName(error.detail);
  if (!detail.empty()) body["error"]["detail"] = std::string(detail);
  body["error"]["message"] = error.message;
  const std::string text =
      body.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  return {HttpStatusOf(error.code), {{"Content-Type", "application/json"}}, ToBytes(text)};
}

net::Response RefusalOfAdmin(const net::Request& request, const Error& error) {
  const bool admin_route = request.target.starts_with("/v1/admin/");
  return admin_route ? AdminRefusalResponse(error) : RefusalResponse(error);
}

}  // namespace fl::server
