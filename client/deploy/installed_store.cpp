#include "fl/client/deploy/installed_store.h"

#include <algorithm>

#include "fl/common/base/file.h"

namespace fl::client {
namespace {

constexpr std::uint64_t kModelBytesMax = 1ULL << 32;
constexpr unsigned kMode = 0600;

}  // namespace

Result<Bytes> InstalledStore::Current() const {
  return ReadFile(current_path(), kModelBytesMax);
}

Result<Bytes> InstalledStore::Previous() const {
  return ReadFile(previous_path(), kModelBytesMax);
}

Result<> InstalledStore::Install(ByteSpan model_file) const {
  const Result<Bytes> current = Current();
  if (!current && current.error().code != ErrorCode::kNotFound) return current.error();
  if (current) {
    if (std::ranges::equal(*current, model_file)) return {};
    FL_TRY_OK(WriteFileAtomically(previous_path(), *current, kMode));
  }
  return WriteFileAtomically(current_path(), model_file, kMode);
}

Result<> InstalledStore::Rollback() const {
  const Result<Bytes> previous = Previous();
  if (!previous) {
    if (previous.error().code != ErrorCode::kNotFound) return previous.error();
    return Error{ErrorCode::kNotFound,
                 "rollback: expected a previous local model, found none in " + folder_.string()};
  }
  FL_TRY(const Bytes current, Current());
  // Written in this order a crash leaves the previous model current, at worst twice.
  FL_TRY_OK(WriteFileAtomically(current_path(), *previous, kMode));
  return WriteFileAtomically(previous_path(), current, kMode);
}

}  // namespace fl::client
