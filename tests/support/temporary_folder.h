#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace fl::testing {

// A folder of its own under the system's temporary folder, removed with everything in it at the
// end.
class TemporaryFolder {
 public:
  enum class Medium { kDisk, kMemory };

  // kMemory: where flushing costs nothing, if the system has such a place. A process that is killed
  // leaves the same files on either.
  explicit TemporaryFolder(Medium medium = Medium::kDisk) {
    const std::filesystem::path memory = "/dev/shm";
    const bool in_memory = medium == Medium::kMemory && ::access(memory.c_str(), W_OK) == 0;
    const std::filesystem::path parent =
        in_memory ? memory : std::filesystem::temp_directory_path();
    std::string pattern = (parent / "fl-test-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace fl::testing
