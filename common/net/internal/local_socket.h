#pragma once

#include <filesystem>
#include <string>

#include "fl/common/base/result.h"

// The file that a Unix socket has.
namespace fl::net::internal {

inline constexpr std::filesystem::perms kSocketMode =
    std::filesystem::perms::owner_read | std::filesystem::perms::owner_write;

// Makes the path free: removes a socket on which nobody listens. kInvalidArgument where the path is
// too long for a socket or names something else, kIo where a server listens on it.
Result<> RemoveDeadSocket(const std::string& path);

// Removes the file at its end.
class LocalSocketFile {
 public:
  explicit LocalSocketFile(std::string path) : path_(std::move(path)) {}
  LocalSocketFile(const LocalSocketFile&) = delete;
  LocalSocketFile& operator=(const LocalSocketFile&) = delete;
  ~LocalSocketFile() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }

 private:
  std::string path_;
};

}  // namespace fl::net::internal
