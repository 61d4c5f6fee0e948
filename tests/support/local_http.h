#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

// A bare HTTP/1.1 client over a Unix socket or a port of 127.0.0.1, on the system's calls alone.
namespace fl::testing {

struct HttpAnswer {
  int status = 0;  // 0: no answer.
  std::string head;
  std::string body;
};

// One keep-alive connection, closed at the end. Thread safety: distinct objects safe.
class LocalHttp {
 public:
  static LocalHttp ToPath(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    return LocalHttp(AF_UNIX, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  }
  static LocalHttp ToPort(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return LocalHttp(AF_INET, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  }
  LocalHttp(LocalHttp&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  LocalHttp& operator=(LocalHttp&&) = delete;
  ~LocalHttp() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  bool connected() const { return descriptor_ >= 0; }

  // `headers`: whole lines, each with its end.
  HttpAnswer Ask(const std::string& method, const std::string& target, const std::string& body = {},
                 const std::string& headers = "Host: localhost\r\n") const {
    Send(method + " " + target + " HTTP/1.1\r\n" + headers +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    return Read();
  }

  void Send(const std::string& bytes) const {
    std::size_t sent = 0;
    while (sent < bytes.size()) {
      const auto count =
          ::send(descriptor_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (count <= 0) return;
      sent += static_cast<std::size_t>(count);
    }
  }

  // The next answer, by its Content-Length.
  HttpAnswer Read() const {
    HttpAnswer answer;
    std::string bytes;
    std::size_t head_end = std::string::npos;
    while ((head_end = bytes.find("\r\n\r\n")) == std::string::npos) {
      if (!ReadSome(bytes)) return answer;
    }
    answer.head = bytes.substr(0, head_end + 2);
    answer.body = bytes.substr(head_end + 4);
    answer.status = std::atoi(answer.head.c_str() + answer.head.find(' '));
    const std::string name = "Content-Length: ";
    const std::size_t at = answer.head.find(name);
    const std::size_t length =
        at == std::string::npos ? 0
                                : std::strtoul(answer.head.c_str() + at + name.size(), nullptr, 10);
    while (answer.body.size() < length && ReadSome(answer.body)) continue;
    return answer;
  }

 private:
  LocalHttp(int family, const sockaddr* address, socklen_t size)
      : descriptor_(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (::connect(descriptor_, address, size) == 0) return;
    ::close(std::exchange(descriptor_, -1));
  }

  bool ReadSome(std::string& bytes) const {
    char buffer[4096];
    const auto count = ::recv(descriptor_, buffer, sizeof(buffer), 0);
    if (count <= 0) return false;
    bytes.append(buffer, static_cast<std::size_t>(count));
    return true;
  }

  int descriptor_;
};

}  // namespace fl::testing
