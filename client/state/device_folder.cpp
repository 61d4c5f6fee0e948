#include "fl/client/state/device_folder.h"

#include <algorithm>
#include <fstream>
#include <string_view>
#include <system_error>

namespace fl::client {
namespace {

namespace fs = std::filesystem;

constexpr unsigned kMode = 0600;
constexpr std::uint64_t kActivityBytesMax = 1U << 20;

fs::path StatePath(const fs::path& folder) {
  return folder / "device.state";
}
fs::path ActivityPath(const fs::path& folder) {
  return folder / "activity.jsonl";
}

// Keeps the newer half of the log, from a line's start on.
Result<> Halve(const fs::path& path) {
  FL_TRY(const Bytes content, ReadFile(path, 16 * kActivityBytesMax));
  std::string_view text = AsText(content);
  text.remove_prefix(text.size() / 2);
  const std::size_t line_end = text.find('\n');
  if (line_end != std::string_view::npos) text.remove_prefix(line_end + 1);
  return WriteFileAtomically(path, AsBytes(text), kMode);
}

}  // namespace

Result<DeviceFolder> DeviceFolder::Open(const fs::path& path) {
  FL_TRY_OK(MakePrivateFolder(path));
  FL_TRY(FolderLock lock, FolderLock::Acquire(path));
  FL_TRY_OK(MakePrivateFolder(path / "cache"));
  FL_TRY_OK(MakePrivateFolder(LocalPath(path)));
  auto state = ReadState(path);
  if (!state && state.error().code != ErrorCode::kNotFound) return state.error();
  return DeviceFolder(path, std::move(lock), state ? *std::move(state) : DeviceState());
}

Result<DeviceState> DeviceFolder::ReadState(const fs::path& path) {
  FL_TRY(const Bytes bytes, ReadFile(StatePath(path), DeviceStateLimits().bytes_max));
  auto state = DeviceState::Decode(bytes);
  if (!state) return state.error().At(StatePath(path).string());
  return state;
}

std::vector<std::string> DeviceFolder::ReadActivity(const fs::path& path, std::size_t lines_max) {
  std::vector<std::string> lines;
  std::ifstream file(ActivityPath(path));
  for (std::string line; std::getline(file, line);) lines.push_back(std::move(line));
  if (lines.size() > lines_max) {
    lines.erase(lines.begin(), lines.end() - static_cast<std::ptrdiff_t>(lines_max));
  }
  return lines;
}

Result<> DeviceFolder::Save(const DeviceState& state) const {
  return WriteFileAtomically(StatePath(path_), state.Encode(), kMode);
}

Result<> DeviceFolder::AppendActivity(const std::string& line) const {
  const fs::path path = ActivityPath(path_);
  std::error_code error;
  if (fs::file_size(path, error) > kActivityBytesMax && !error) FL_TRY_OK(Halve(path));
  std::ofstream file(path, std::ios::app);
  file << line << '\n';
  file.flush();
  if (!file) return Error{ErrorCode::kIo, path.string() + ": cannot append to the activity log"};
  return {};
}

}  // namespace fl::client
