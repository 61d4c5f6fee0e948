#pragma once

#include <cstdint>

namespace fl::server {

// What the operating system says about this process, from /proc/self; 0 where it does not say.
struct ProcessFigures {
  double cpu_seconds = 0;         // User and system.
  double start_time_seconds = 0;  // Since the Unix epoch.
  std::uint64_t resident_bytes = 0;
  std::uint64_t virtual_bytes = 0;
  std::uint64_t open_descriptors = 0;
  std::uint64_t descriptors_max = 0;
  std::uint64_t threads = 0;
};

ProcessFigures ReadProcessFigures();

}  // namespace fl::server
