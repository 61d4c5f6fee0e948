#include "fl/tests/fault/failing_disk.h"

#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include <sys/syscall.h>

namespace fl::fault {
namespace {

DiskFault fault_kind = DiskFault::kNone;
long calls_left = 0;
long failing_left = 0;
bool has_failed = false;
std::filesystem::path flushed_folder;
std::filesystem::path flushed_image;

std::filesystem::path PathOf(int descriptor) {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(descriptor), error);
}

// Where the file lies in the folder; empty where it does not, and for the folder itself.
std::filesystem::path PlaceOf(const std::filesystem::path& path) {
  if (flushed_folder.empty()) return {};
  const std::filesystem::path place = path.lexically_relative(flushed_folder);
  return place.empty() || *place.begin() == ".." || place == "." ? std::filesystem::path() : place;
}

bool Fails(DiskFault kind, int descriptor) {
  if (kind != fault_kind || PlaceOf(PathOf(descriptor)).empty()) return false;
  if (calls_left-- > 0) return false;
  if (failing_left-- <= 0) return false;
  has_failed = true;
  return true;
}

void CopyFlushed(int descriptor) {
  namespace fs = std::filesystem;
  if (flushed_folder.empty()) return;
  std::error_code error;
  const fs::path path = PathOf(descriptor);
  if (path == flushed_folder) {
    // What was deleted before is gone for good.
    std::vector<fs::path> gone;
    for (const auto& entry : fs::directory_iterator(flushed_image)) {
      if (!fs::exists(path / entry.path().filename())) gone.push_back(entry.path());
    }
    for (const fs::path& file : gone) fs::remove(file, error);
  }
  const fs::path place = PlaceOf(path);
  if (place.empty() || !fs::is_regular_file(path)) return;
  fs::create_directories((flushed_image / place).parent_path());
  fs::copy_file(path, flushed_image / place, fs::copy_options::overwrite_existing, error);
}

int Flush(long call, int descriptor) {
  if (Fails(DiskFault::kSync, descriptor)) {
    errno = EIO;
    return -1;
  }
  const long status = ::syscall(call, descriptor);
  if (status == 0) CopyFlushed(descriptor);
  return static_cast<int>(status);
}

}  // namespace

void FailDisk(DiskFault fault, long count, long failing) {
  fault_kind = fault;
  calls_left = count;
  failing_left = failing;
  has_failed = false;
}

bool DiskHasFailed() {
  return has_failed;
}

void WatchDisk(const std::filesystem::path& folder, const std::filesystem::path& image) {
  flushed_folder = folder.empty() ? folder : std::filesystem::canonical(folder);
  flushed_image = image;
}

}  // namespace fl::fault

// NOLINTBEGIN(readability-identifier-naming): the system's names.
extern "C" {
int fsync(int descriptor) {
  return fl::fault::Flush(SYS_fsync, descriptor);
}
int fdatasync(int descriptor) {
  return fl::fault::Flush(SYS_fdatasync, descriptor);
}
ssize_t pwrite(int descriptor, const void* data, size_t size, off_t offset) {
  return ::pwrite64(descriptor, data, size, offset);
}
ssize_t pwrite64(int descriptor, const void* data, size_t size, off64_t offset) {
  if (fl::fault::Fails(fl::fault::DiskFault::kWrite, descriptor)) {
    errno = ENOSPC;
    return -1;
  }
  return ::syscall(SYS_pwrite64, descriptor, data, size, offset);
}
}
// NOLINTEND(readability-identifier-naming)
