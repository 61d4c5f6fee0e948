#include "fl/server/storage/internal/body_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <system_error>
#include <vector>

#include <linux/magic.h>
#include <sys/file.h>
#include <sys/vfs.h>

#include "fl/common/base/clock.h"
#include "fl/common/base/file.h"

namespace fl::server::internal {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kAlignment = 4096;  // A body can be mapped without its neighbour.

Error Failed(const char* what, const fs::path& path) {
  const int number = errno;
  const ErrorCode code = number == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo;
  return {code,
          path.string() + ": cannot be " + what + ": " + std::generic_category().message(number)};
}

Result<> FlushFolder(const fs::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return Failed("opened", folder);
  const bool flushed = ::fsync(descriptor) == 0;
  const Error error = Failed("flushed", folder);
  ::close(descriptor);
  if (flushed) return Ok{};
  return error;
}

// Room for a body at once: a disk that has none says so before anything of it is acknowledged, and
// a flush has less to write down. In memory it would only clear what is written soon.
Result<> Reserve(const BodyFile& file, std::uint64_t at, std::uint64_t size) {
  struct statfs system {};
  if (::fstatfs(file.descriptor(), &system) == 0 && system.f_type == TMPFS_MAGIC) return Ok{};
  const int reserved =
      ::fallocate(file.descriptor(), 0, static_cast<off_t>(at), static_cast<off_t>(size));
  if (reserved == 0 || errno == EOPNOTSUPP) return Ok{};
  return Failed("extended", file.path());
}

std::optional<std::uint64_t> IdOf(const fs::path& path) {
  const std::string name = path.filename().string();
  std::uint64_t id = 0;
  const auto [end, failed] = std::from_chars(name.data(), name.data() + name.size(), id);
  const bool whole = failed == std::errc() && end == name.data() + name.size();
  return whole ? std::optional(id) : std::nullopt;
}

}  // namespace

BodyFile::~BodyFile() {
  ::close(descriptor_);
}

Result<> BodyFile::Write(std::uint64_t at, ByteSpan bytes) const {
  while (!bytes.empty()) {
    const ssize_t written =
        ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Failed("written", path_);
    at += static_cast<std::uint64_t>(written);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return Ok{};
}

Result<> BodyFile::Flush() const {
  if (::fdatasync(descriptor_) == 0) return Ok{};
  return Failed("flushed", path_);
}

Result<StoredBody> BodyFile::Map(std::uint64_t at, std::size_t size) const {
  Result<StoredBody> body = StoredBody::Map(descriptor_, at, size);
  if (!body) return body.error().At(path_.string());
  return body;
}

Result<BodyFiles::Part> BodyFiles::Allot(const std::string& group, std::uint64_t size) {
  const std::lock_guard lock(mutex_);
  const auto found = groups_.find(group);
  std::shared_ptr<BodyFile> file;
  std::uint64_t at = 0;
  if (found != groups_.end() && found->second.end + size <= kFileBytes) {
    FL_TRY(file, OpenLocked(found->second.file));
    at = (found->second.end + kAlignment - 1) / kAlignment * kAlignment;
  } else {
    FL_TRY(file, Create());
  }
  FL_TRY_OK(Reserve(*file, at, size));
  groups_[group] = {file->id(), at + size};
  return Part{std::move(file), at};
}

Result<std::shared_ptr<BodyFile>> BodyFiles::Open(std::uint64_t id) {
  const std::lock_guard lock(mutex_);
  return OpenLocked(id);
}

Result<> BodyFiles::DeleteUnused(std::uint64_t id, const IsUsed& is_used) {
  const std::lock_guard lock(mutex_);
  return DeleteUnusedLocked(id, is_used);
}

Result<> BodyFiles::DeleteAllUnused(const IsUsed& is_used) {
  const std::lock_guard lock(mutex_);
  std::error_code failed;
  std::vector<std::uint64_t> ids;
  for (fs::directory_iterator at(folder_, failed), end; !failed && at != end;
       at.increment(failed)) {
    if (const auto id = IdOf(at->path())) ids.push_back(*id);
  }
  for (const std::uint64_t id : ids) FL_TRY_OK(DeleteUnusedLocked(id, is_used));
  return Ok{};
}

fs::path BodyFiles::PathOf(std::uint64_t id) const {
  return folder_ / std::to_string(id);
}

// Ids only grow, also over restarts, so that a row or a backup never finds another file of the id
// that it knows.
Result<std::shared_ptr<BodyFile>> BodyFiles::Create() {
  const bool is_first = !fs::exists(folder_);
  FL_TRY_OK(MakePrivateFolder(folder_));
  if (is_first) FL_TRY_OK(FlushFolder(folder_.has_parent_path() ? folder_.parent_path() : "."));
  const auto now = static_cast<std::uint64_t>(ToMicroseconds(SystemClock().Now()));
  for (newest_ = std::max(now, newest_ + 1);; ++newest_) {
    const fs::path path = PathOf(newest_);
    const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (descriptor < 0 && errno == EEXIST) continue;
    if (descriptor < 0) return Failed("created", path);
    auto file = std::make_shared<BodyFile>(descriptor, newest_, path);
    if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) return Failed("locked", path);
    FL_TRY_OK(FlushFolder(folder_));
    open_[newest_] = file;
    return file;
  }
}

Result<std::shared_ptr<BodyFile>> BodyFiles::OpenLocked(std::uint64_t id) {
  const auto found = open_.find(id);
  if (found != open_.end()) return found->second;
  const fs::path path = PathOf(id);
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (descriptor < 0) return Failed("opened", path);
  return open_[id] = std::make_shared<BodyFile>(descriptor, id, path);
}

Result<> BodyFiles::DeleteUnusedLocked(std::uint64_t id, const IsUsed& is_used) {
  {
    const auto file = OpenLocked(id);
    if (!file && file.error().code == ErrorCode::kNotFound) return Ok{};
    if (!file) return file.error();
    const bool is_held = file->use_count() > 2;
    if (is_held || ::flock((*file)->descriptor(), LOCK_EX | LOCK_NB) != 0) return Ok{};
  }
  FL_TRY(const bool used, is_used(id));
  if (used) return Ok{};
  open_.erase(id);
  std::erase_if(groups_, [&](const auto& group) { return group.second.file == id; });
  std::error_code failed;
  fs::remove(PathOf(id), failed);
  if (!failed) return Ok{};
  return Error{ErrorCode::kIo, PathOf(id).string() + ": " + failed.message()};
}

}  // namespace fl::server::internal
