#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "fl/common/base/log.h"

namespace fl::client {

// The folder of who serves the local model of a device's state folder: its lock and drift.json, by
// which other processes know of the drift.
inline std::filesystem::path DriftFolder(const std::filesystem::path& state) {
  return state / "serve";
}

// Keeps drift.json up to date. Thread safety: distinct objects safe.
class DriftFile {
 public:
  // `log` outlives it.
  DriftFile(const std::filesystem::path& folder, const Logger& log)
      : path_(folder / "drift.json"), log_(log) {}

  // Replaces the file where the text has changed; an empty text removes it. Where that fails (a
  // full disk, say) serving goes on, and a warning says so once.
  void Write(const std::string& text);

 private:
  std::filesystem::path path_;
  const Logger& log_;
  std::optional<std::string> written_;
  bool has_failed_ = false;
};

// What is known of a device's drift.
struct KnownDrift {
  std::string model_sha256;
  double score = 0;
  std::string json;  // The whole of drift.json.
};
// Nothing where nobody has served the local model, or the file is damaged.
std::optional<KnownDrift> ReadDrift(const std::filesystem::path& state);

}  // namespace fl::client
