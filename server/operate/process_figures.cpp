#include "fl/server/operate/process_figures.h"

#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <sys/resource.h>

namespace fl::server {
namespace {

// When the machine started, in seconds since the epoch.
double BootTime() {
  std::ifstream file("/proc/stat");
  std::string word;
  double value = 0;
  while (file >> word) {
    if (word == "btime" && file >> value) return value;
  }
  return 0;
}

// The fields of /proc/self/stat from the third one on; the second is a name in parentheses, which
// may hold anything.
std::istringstream StatFields() {
  std::ifstream file("/proc/self/stat");
  std::string line;
  std::getline(file, line);
  const std::size_t end = line.rfind(')');
  return std::istringstream(end == std::string::npos ? "" : line.substr(end + 1));
}

// Of all threads, in nanoseconds' steps; /proc counts in ticks of 10 ms.
double CpuSeconds() {
  timespec spent{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
  return static_cast<double>(spent.tv_sec) + static_cast<double>(spent.tv_nsec) * 1e-9;
}

std::uint64_t CountDescriptors() {
  std::error_code failed;
  std::uint64_t count = 0;
  for (std::filesystem::directory_iterator at("/proc/self/fd", failed), end; !failed && at != end;
       at.increment(failed)) {
    ++count;
  }
  return count == 0 ? 0 : count - 1;  // One of them reads the folder.
}

}  // namespace

ProcessFigures ReadProcessFigures() {
  ProcessFigures figures;
  const double ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  std::istringstream fields = StatFields();
  std::string skipped;
  for (int field = 3; field < 20; ++field) fields >> skipped;
  double started = 0;
  std::uint64_t pages = 0;
  fields >> figures.threads >> skipped >> started >> figures.virtual_bytes >> pages;
  if (!fields) return {};
  figures.cpu_seconds = CpuSeconds();
  figures.start_time_seconds = BootTime() + started / ticks;
  figures.resident_bytes = pages * page;
  figures.open_descriptors = CountDescriptors();
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) figures.descriptors_max = limit.rlim_cur;
  return figures;
}

}  // namespace fl::server
