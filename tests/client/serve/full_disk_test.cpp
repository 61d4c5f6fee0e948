// A disk that is full from a chosen write on, while a model is installed that others serve. The
// linker leads the calls of this program's libraries through the functions below (--wrap).
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>

#include <doctest/doctest.h>

#include "fl/client/serve/model_slot.h"
#include "fl/common/crypto/sha256.h"
#include "fl/tests/client/serve/small_models.h"
#include "fl/tests/support/temporary_folder.h"

namespace {

// How many calls still succeed; below 0: all.
std::atomic<long> calls_left = -1;

bool IsFull() {
  return calls_left >= 0 && (calls_left == 0 || calls_left-- == 0);
}

}  // namespace

// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming): --wrap names them so.
extern "C" {
ssize_t __real_write(int descriptor, const void* data, size_t size);
int __real_fsync(int descriptor);

ssize_t __wrap_write(int descriptor, const void* data, size_t size) {
  if (!IsFull()) return __real_write(descriptor, data, size);
  errno = ENOSPC;
  return -1;
}
int __wrap_fsync(int descriptor) {
  if (!IsFull()) return __real_fsync(descriptor);
  errno = ENOSPC;
  return -1;
}
}
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)

namespace fl::client {
namespace {

using fl::testing::Get;
using testing::SmallModelFile;

std::size_t FilesIn(const std::filesystem::path& folder) {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++count;
  return count;
}

TEST_CASE("InstalledStore: on a full disk nothing changes and the old model is served on") {
  const fl::testing::TemporaryFolder folder;
  const InstalledStore store(folder.path());
  const Logger log(LogLevel::kOff);
  for (const std::size_t model : {0U, 1U}) REQUIRE(store.Install(SmallModelFile(model)));
  ModelSlot slot(store, log, std::chrono::hours(1));
  const Digest old = crypto::Sha256(SmallModelFile(1));
  bool is_rollback = false;
  SUBCASE("installing") {
    is_rollback = false;
  }
  SUBCASE("going back") {
    is_rollback = true;
  }
  std::size_t refused = 0;
  for (long calls = 0; Get(store.Current()) == SmallModelFile(1); ++calls) {
    REQUIRE(calls < 100);
    calls_left = calls;
    const Result<> outcome = is_rollback ? store.Rollback() : store.Install(SmallModelFile(2));
    calls_left = -1;
    if (Get(store.Current()) != SmallModelFile(1)) continue;
    ++refused;
    REQUIRE_FALSE(outcome);
    CHECK(outcome.error().code == ErrorCode::kIo);
    CHECK(FilesIn(folder.path()) == 2);
    CHECK(Get(store.Previous()) == SmallModelFile(0));
    slot.Refresh();
    CHECK(slot.current()->digest() == old);
  }
  CHECK(refused >= 4);
  CHECK(Get(store.Current()) == SmallModelFile(is_rollback ? 0 : 2));
  CHECK(Get(store.Previous()) == SmallModelFile(1));
  slot.Refresh();
  CHECK(slot.current()->digest() == crypto::Sha256(Get(store.Current())));
}

}  // namespace
}  // namespace fl::client
