#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "fl/client/state/device_state.h"
#include "fl/common/base/file.h"

namespace fl::client {

// A device's state folder, 0700:
//   lock             who uses it                  device.state     DeviceState
//   cache/           plans and models by digest   local/           the installed local models
//   activity.jsonl   what ran here and what was contributed, a JSON object a line, newest last
// Thread safety: distinct objects safe.
class DeviceFolder {
 public:
  // Makes the folder where it does not exist, and locks it. kLocked, kIo; DeviceState::Decode's
  // errors with the file's path.
  static Result<DeviceFolder> Open(const std::filesystem::path& path);

  // For those who only look: no lock, nothing is made. kNotFound when there is no state.
  static Result<DeviceState> ReadState(const std::filesystem::path& path);
  // The newest `lines_max` lines of the activity log, oldest first.
  static std::vector<std::string> ReadActivity(const std::filesystem::path& path,
                                               std::size_t lines_max);

  // The state as it was found; empty in a new folder.
  DeviceState TakeState() { return std::move(state_); }

  // Durable when it returns; a crash at any moment leaves the old state or the new one.
  Result<> Save(const DeviceState& state) const;
  // Appends a line; the log's older half goes when it has grown beyond a MiB.
  Result<> AppendActivity(const std::string& line) const;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path cache_path() const { return path_ / "cache"; }
  static std::filesystem::path LocalPath(const std::filesystem::path& path) {
    return path / "local";
  }

 private:
  DeviceFolder(std::filesystem::path path, FolderLock lock, DeviceState state)
      : path_(std::move(path)), lock_(std::move(lock)), state_(std::move(state)) {}

  std::filesystem::path path_;
  FolderLock lock_;
  DeviceState state_;
};

}  // namespace fl::client
