#pragma once

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include <sys/mount.h>
#include <sys/prctl.h>

namespace fl::testing {

// A real disk of a few MiB in memory, mounted on a folder for this process and its children alone.
// Where the system lets nobody do that, `mounted` says so. The process must have one thread.
class SmallDisk {
 public:
  SmallDisk(const std::filesystem::path& folder, int mebibytes) : folder_(folder) {
    std::filesystem::create_directories(folder);
    const auto user = std::to_string(::getuid());
    const auto group = std::to_string(::getgid());
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0) {
      ::prctl(PR_SET_DUMPABLE, 1);  // Else its own files in /proc are another user's.
      Write("/proc/self/setgroups", "deny");
      Write("/proc/self/uid_map", "0 " + user + " 1");
      Write("/proc/self/gid_map", "0 " + group + " 1");
    } else if (::unshare(CLONE_NEWNS) != 0) {
      return;
    }
    const std::string options = "mode=700,size=" + std::to_string(mebibytes) + "m";
    mounted_ = ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
               ::mount("tmpfs", folder.c_str(), "tmpfs", 0, options.c_str()) == 0;
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  ~SmallDisk() {
    if (mounted_) ::umount2(folder_.c_str(), MNT_DETACH);
  }

  bool mounted() const { return mounted_; }

  // Leaves no free byte; again after Empty.
  void Fill() const {
    const int file = ::open(ballast().c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    for (std::size_t size : {std::size_t{65536}, std::size_t{4096}, std::size_t{1}}) {
      const std::string zeros(size, '\0');
      while (::write(file, zeros.data(), size) > 0) continue;
    }
    ::close(file);
  }
  void Empty() const { std::filesystem::remove(ballast()); }

 private:
  std::filesystem::path ballast() const { return folder_ / "ballast"; }
  static void Write(const char* path, const std::string& text) { std::ofstream(path) << text; }

  std::filesystem::path folder_;
  bool mounted_ = false;
};

}  // namespace fl::testing
