#include "fl/common/base/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include <sys/file.h>
#include <sys/stat.h>

namespace fl {
namespace {

Error SystemError(std::string_view what, const std::filesystem::path& path) {
  const int number = errno;
  const ErrorCode code = number == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo;
  return {code,
          std::string(what) + " " + path.string() + ": " + std::generic_category().message(number)};
}

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  int value() const { return value_; }
  int Release() { return std::exchange(value_, -1); }

 private:
  int value_;
};

Result<> WriteAll(int descriptor, ByteSpan content, const std::filesystem::path& path) {
  while (!content.empty()) {
    const ssize_t written = ::write(descriptor, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return SystemError("cannot write", path);
    content = content.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

}  // namespace

Result<Bytes> ReadFile(const std::filesystem::path& path, std::uint64_t bytes_max) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.value() < 0) return SystemError("cannot open", path);
  struct stat status {};
  if (::fstat(file.value(), &status) != 0) return SystemError("cannot look at", path);
  if (S_ISDIR(status.st_mode))
    return Error{ErrorCode::kIo, path.string() + " is a folder, expected a file"};
  Bytes content;
  std::array<std::byte, 65536>
      buffer;  // NOLINT(cppcoreguidelines-pro-type-member-init): read() fills it.
  if (S_ISREG(status.st_mode) && static_cast<std::uint64_t>(status.st_size) <= bytes_max) {
    content.reserve(static_cast<std::size_t>(status.st_size));
  }
  while (true) {
    const ssize_t count = ::read(file.value(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return SystemError("cannot read", path);
    if (count == 0) return content;
    if (content.size() + static_cast<std::size_t>(count) > bytes_max) {
      return Error{ErrorCode::kLimitExceeded, path.string() + " is larger than the " +
                                                  std::to_string(bytes_max) + " bytes accepted"};
    }
    content.insert(content.end(), buffer.begin(), buffer.begin() + count);
  }
}

Result<> WriteFileAtomically(const std::filesystem::path& path, ByteSpan content, unsigned mode) {
  std::filesystem::path temporary = path;
  temporary += ".tmp";
  {
    const Descriptor file(
        ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
    if (file.value() < 0) return SystemError("cannot create", temporary);
    if (::fchmod(file.value(), mode) != 0) return SystemError("cannot set the mode of", temporary);
    FL_TRY_OK(WriteAll(file.value(), content, temporary));
    if (::fsync(file.value()) != 0) return SystemError("cannot flush", temporary);
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) return SystemError("cannot replace", path);
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  const Descriptor directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.value() < 0) return SystemError("cannot open", folder);
  if (::fsync(directory.value()) != 0) return SystemError("cannot flush", folder);
  return {};
}

Result<> MakePrivateFolder(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return {};
  if (path.has_parent_path()) {
    std::filesystem::create_directories(path.parent_path(), error);
    if (error)
      return Error{ErrorCode::kIo,
                   "cannot create " + path.parent_path().string() + ": " + error.message()};
  }
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    return SystemError("cannot create", path);
  return {};
}

Result<FolderLock> FolderLock::Acquire(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "lock";
  Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (file.value() < 0) return SystemError("cannot open", path);
  if (::flock(file.value(), LOCK_EX | LOCK_NB) != 0) {
    std::array<char, 32> owner{};
    const ssize_t count = ::pread(file.value(), owner.data(), owner.size() - 1, 0);
    return Error{ErrorCode::kLocked,
                 folder.string() + " is in use by process " +
                     (count > 0 ? std::string(owner.data()) : std::string("(unknown)")) +
                     "; stop that process or choose another state folder"};
  }
  const std::string id = std::to_string(::getpid());
  if (::ftruncate(file.value(), 0) != 0) return SystemError("cannot write", path);
  FL_TRY_OK(WriteAll(file.value(), AsBytes(id), path));
  return FolderLock(file.Release());
}

FolderLock::FolderLock(FolderLock&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)) {}

FolderLock& FolderLock::operator=(FolderLock&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

FolderLock::~FolderLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace fl
