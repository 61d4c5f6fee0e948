#include "fl/common/crypto/key_file.h"

#include <cerrno>
#include <cstdio>
#include <string>
#include <system_error>

#include <sys/stat.h>

#include "fl/common/base/file.h"

namespace fl::crypto {
namespace {

constexpr std::uint64_t kKeyBytesMax = 64 << 10;

}  // namespace

Result<> WriteKeyFile(const std::filesystem::path& path, const Secret& key) {
  std::error_code ignored;
  if (std::filesystem::exists(std::filesystem::symlink_status(path, ignored))) {
    return Error{ErrorCode::kInvalidArgument,
                 path.string() + ": expected no such file, found one; a key is never overwritten"};
  }
  return WriteFileAtomically(path, key.bytes(), 0600);
}

Result<Secret> ReadKeyFile(const std::filesystem::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    const ErrorCode code = errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo;
    return Error{code, path.string() + ": " + std::generic_category().message(errno)};
  }
  if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    char mode[8];
    std::snprintf(mode, sizeof(mode), "%04o", status.st_mode & 07777U);
    return Error{ErrorCode::kUnauthorized, path.string() + ": expected mode 0600, found " + mode +
                                               "; others can reach the key: chmod 600 " +
                                               path.string()};
  }
  FL_TRY(Bytes bytes, ReadFile(path, kKeyBytesMax));
  Secret secret = Secret::Copy(bytes);
  Wipe(bytes);
  return secret;
}

}  // namespace fl::crypto
