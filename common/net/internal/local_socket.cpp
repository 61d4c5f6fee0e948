#include "fl/common/net/internal/local_socket.h"

#include <unistd.h>

#include <algorithm>

#include <sys/socket.h>
#include <sys/un.h>

namespace fl::net::internal {
namespace {

// Whether a server accepts connections at the path, which fits.
bool Answers(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::ranges::copy(path, address.sun_path);
  const int descriptor = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return true;  // Not known: the file stays.
  const int outcome =
      ::connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  ::close(descriptor);
  return outcome == 0;
}

}  // namespace

Result<> RemoveDeadSocket(const std::string& path) {
  constexpr std::size_t kBytesMax = sizeof(sockaddr_un::sun_path) - 1;
  if (path.empty() || path.size() > kBytesMax) {
    return Error{ErrorCode::kInvalidArgument,
                 path + ": expected the path of a socket, which has 1 to " +
                     std::to_string(kBytesMax) + " bytes, found " + std::to_string(path.size())};
  }
  std::error_code error;
  const auto status = std::filesystem::symlink_status(path, error);
  if (!std::filesystem::exists(status)) return {};
  if (!std::filesystem::is_socket(status)) {
    return Error{ErrorCode::kInvalidArgument,
                 path + ": expected no file or a socket there, found something else"};
  }
  if (Answers(path)) {
    return Error{ErrorCode::kIo, path + ": expected a free socket, found one that a server uses"};
  }
  std::filesystem::remove(path, error);
  if (error) return Error{ErrorCode::kIo, path + ": cannot remove it: " + error.message()};
  return {};
}

}  // namespace fl::net::internal
