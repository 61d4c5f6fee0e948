#include "fl/common/base/file.h"

#include <unistd.h>

#include <iterator>
#include <optional>

#include <doctest/doctest.h>
#include <sys/stat.h>

#include "fl/tests/support/result.h"
#include "fl/tests/support/temporary_folder.h"

namespace fl::testing {
namespace {

unsigned ModeOf(const std::filesystem::path& path) {
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  return status.st_mode & 0777U;
}

}  // namespace

TEST_CASE("ReadFile: reads what was written up to its limit") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "file";
  REQUIRE(WriteFileAtomically(path, AsBytes("hello")));
  CHECK(AsText(Get(ReadFile(path, 5))) == "hello");
  CHECK(AsText(Get(ReadFile(path, 6))) == "hello");
  CHECK(CodeOf(ReadFile(path, 4)) == ErrorCode::kLimitExceeded);
}

TEST_CASE("ReadFile: an absent file and a folder are errors that name the path") {
  const TemporaryFolder folder;
  const auto absent = ReadFile(folder.path() / "absent", 10);
  REQUIRE(CodeOf(absent) == ErrorCode::kNotFound);
  CHECK(absent.error().message.find("absent") != std::string::npos);
  CHECK(CodeOf(ReadFile(folder.path(), 10)) == ErrorCode::kIo);
}

TEST_CASE("WriteFileAtomically: replaces the content and leaves nothing else behind") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "key";
  REQUIRE(WriteFileAtomically(path, AsBytes("a longer old content"), 0600));
  REQUIRE(WriteFileAtomically(path, AsBytes("new"), 0600));
  CHECK(AsText(Get(ReadFile(path, 100))) == "new");
  CHECK(ModeOf(path) == 0600U);
  const auto files = std::distance(std::filesystem::directory_iterator(folder.path()),
                                   std::filesystem::directory_iterator());
  CHECK(files == 1);
}

TEST_CASE("WriteFileAtomically: a folder that does not exist is not found") {
  const TemporaryFolder folder;
  CHECK(CodeOf(WriteFileAtomically(folder.path() / "no" / "file", {})) == ErrorCode::kNotFound);
}

TEST_CASE("MakePrivateFolder: makes parents and may be called again") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "a" / "b";
  REQUIRE(MakePrivateFolder(path));
  CHECK(ModeOf(path) == 0700U);
  CHECK(MakePrivateFolder(path));
}

TEST_CASE("FolderLock: a second one is refused with the owner's id until the first is gone") {
  const TemporaryFolder folder;
  std::optional<FolderLock> lock(Get(FolderLock::Acquire(folder.path())));
  const auto second = FolderLock::Acquire(folder.path());
  REQUIRE(CodeOf(second) == ErrorCode::kLocked);
  CHECK(second.error().message.find(std::to_string(::getpid())) != std::string::npos);
  std::optional<FolderLock> moved(std::move(*lock));
  lock.reset();
  CHECK(CodeOf(FolderLock::Acquire(folder.path())) == ErrorCode::kLocked);
  moved.reset();
  CHECK(FolderLock::Acquire(folder.path()));
}

TEST_CASE("FolderLock: a folder that does not exist is not found") {
  const TemporaryFolder folder;
  CHECK(CodeOf(FolderLock::Acquire(folder.path() / "no")) == ErrorCode::kNotFound);
}

}  // namespace fl::testing
