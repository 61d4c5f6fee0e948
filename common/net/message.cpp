#include "fl/common/net/message.h"

#include <algorithm>

namespace fl::net {
namespace {

char ToLower(char letter) {
  return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
}

bool EqualIgnoringCase(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, ToLower, ToLower);
}

std::string_view ReasonPhrase(unsigned status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 206:
      return "Partial Content";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 413:
      return "Content Too Large";
    case 416:
      return "Range Not Satisfiable";
    case 422:
      return "Unprocessable Content";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 503:
      return "Service Unavailable";
    default:
      return "Status";
  }
}

void Append(const Headers& headers, std::string& head) {
  for (const auto& [name, value] : headers) {
    head.append(name).append(": ").append(value).append("\r\n");
  }
}

void AppendLength(std::size_t length, std::string& head) {
  head.append("Content-Length: ").append(std::to_string(length)).append("\r\n");
}

}  // namespace

std::string SerializeHead(const Request& request) {
  std::string head;
  head.append(request.method).append(" ").append(request.target).append(" HTTP/1.1\r\n");
  head.append("Host: ").append(request.host).append("\r\n");
  Append(request.headers, head);
  const bool bodiless = request.method == "GET" || request.method == "HEAD";
  if (!bodiless || !request.body.empty()) AppendLength(request.body.size(), head);
  return head.append("\r\n");
}

std::string SerializeHead(const Response& response) {
  std::string head;
  head.append("HTTP/1.1 ").append(std::to_string(response.status)).append(" ");
  head.append(ReasonPhrase(response.status)).append("\r\n");
  Append(response.headers, head);
  // RFC 9110, 8.6: these carry no length, because they can carry no body.
  if (response.status != 204 && response.status != 304) AppendLength(response.body.size(), head);
  return head.append("\r\n");
}

std::string_view FindHeader(const Headers& headers, std::string_view name) {
  for (const auto& [candidate, value] : headers) {
    if (EqualIgnoringCase(candidate, name)) return value;
  }
  return {};
}

}  // namespace fl::net
