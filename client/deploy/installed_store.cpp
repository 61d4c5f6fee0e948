#include "fl/client/deploy/installed_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <system_error>

#include "fl/client/deploy/local_model.h"
#include "fl/common/base/file.h"

namespace fl::client {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kModelBytesMax = 1ULL << 32;
constexpr unsigned kMode = 0600;

// Nothing becomes current that this device cannot run.
Result<> CheckRuns(ByteSpan model_file, std::string_view what) {
  const auto model = LocalModel::Load(model_file);
  if (!model) return model.error().At(std::string(what));
  return {};
}

Result<> Rename(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (!error) return {};
  return Error{ErrorCode::kIo, "cannot replace " + to.string() + ": " + error.message()};
}

Result<> FlushFolder(const fs::path& path) {
  const int folder = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool is_flushed = folder >= 0 && ::fsync(folder) == 0;
  if (folder >= 0) ::close(folder);
  if (is_flushed) return {};
  return Error{ErrorCode::kIo, "cannot flush " + path.string()};
}

}  // namespace

Result<Bytes> InstalledStore::Current() const {
  return ReadFile(current_path(), kModelBytesMax);
}

Result<Bytes> InstalledStore::Previous() const {
  return ReadFile(previous_path(), kModelBytesMax);
}

Result<> InstalledStore::Install(ByteSpan model_file) const {
  FL_TRY_OK(CheckRuns(model_file, "model to install"));
  const Result<Bytes> current = Current();
  if (!current && current.error().code != ErrorCode::kNotFound) return current.error();
  if (!current) return WriteFileAtomically(current_path(), model_file, kMode);
  if (std::ranges::equal(*current, model_file)) return {};
  return Replace(*current, model_file);
}

Result<> InstalledStore::Rollback() const {
  const Result<Bytes> previous = Previous();
  if (!previous) {
    if (previous.error().code != ErrorCode::kNotFound) return previous.error();
    return Error{ErrorCode::kNotFound,
                 "rollback: expected a previous local model, found none in " + folder_.string()};
  }
  FL_TRY_OK(CheckRuns(*previous, "previous local model"));
  FL_TRY(const Bytes current, Current());
  return Replace(current, *previous);
}

// All that takes room comes first, beside what is there: on a full disk nothing has changed. A
// crash between the two renames leaves the old model current and previous.
Result<> InstalledStore::Replace(ByteSpan current, ByteSpan next) const {
  const fs::path next_path = folder_ / "local-next.safetensors";
  const fs::path kept_path = folder_ / "local-kept.safetensors";
  Result<> written = WriteFileAtomically(next_path, next, kMode);
  if (written) written = WriteFileAtomically(kept_path, current, kMode);
  if (written) written = Rename(kept_path, previous_path());
  if (written) written = Rename(next_path, current_path());
  if (written) return FlushFolder(folder_);
  std::error_code ignored;
  for (const fs::path& path : {next_path, kept_path}) {
    fs::remove(path, ignored);
    fs::remove(path.string() + ".tmp", ignored);
  }
  return written;
}

}  // namespace fl::client
