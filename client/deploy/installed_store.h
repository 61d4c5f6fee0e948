#pragma once

#include <filesystem>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"

namespace fl::client {

// The installed local model and the one before it, as files in a folder:
//   local.safetensors   local-previous.safetensors
// A crash at any moment leaves the current model whole, and a full disk leaves both as they were.
// Thread safety: one writer; readers in other processes see the old model or the new one.
class InstalledStore {
 public:
  explicit InstalledStore(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // The current model file; kNotFound when nothing is installed.
  Result<Bytes> Current() const;
  Result<Bytes> Previous() const;

  // Makes `model_file` current and keeps what was current as the previous one. Installing what is
  // current already changes nothing. LocalModel::Load's errors for a file that this device cannot
  // run, kIo; then nothing has changed.
  Result<> Install(ByteSpan model_file) const;

  // Swaps the current model and the previous one. kNotFound when there is no previous one; errors
  // as above.
  Result<> Rollback() const;

  std::filesystem::path current_path() const { return folder_ / "local.safetensors"; }
  std::filesystem::path previous_path() const { return folder_ / "local-previous.safetensors"; }

 private:
  Result<> Replace(ByteSpan current, ByteSpan next) const;

  std::filesystem::path folder_;
};

}  // namespace fl::client
