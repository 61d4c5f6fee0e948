#pragma once

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

namespace fl::testing {

// What a process holds of the system; zeros once it is gone. `id` 0: this process.
struct Usage {
  std::uint64_t resident_bytes = 0;
  std::size_t descriptors = 0;
};

inline Usage UsageOf(pid_t id = 0) {
  const std::filesystem::path proc =
      "/proc/" + (id == 0 ? std::string("self") : std::to_string(id));
  Usage usage;
  std::uint64_t total = 0;
  std::uint64_t resident = 0;
  std::ifstream(proc / "statm") >> total >> resident;
  usage.resident_bytes = resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  std::error_code error;
  for (std::filesystem::directory_iterator it(proc / "fd", error), end; !error && it != end;
       it.increment(error)) {
    ++usage.descriptors;
  }
  return usage;
}

// What a folder holds, with all below it.
struct FolderUsage {
  std::size_t files = 0;
  std::uint64_t bytes = 0;
};

inline FolderUsage UsageOf(const std::filesystem::path& folder) {
  FolderUsage usage;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code gone;
    if (!it->is_regular_file(gone)) continue;
    const std::uint64_t size = it->file_size(gone);
    if (gone) continue;
    ++usage.files;
    usage.bytes += size;
  }
  return usage;
}

}  // namespace fl::testing
