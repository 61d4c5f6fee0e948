#include "fl/client/deploy/installed_store.h"

#include <doctest/doctest.h>

#include "fl/tests/support/result.h"
#include "fl/tests/support/temporary_folder.h"

namespace fl::client {
namespace {

using testing::CodeOf;
using testing::Get;

TEST_CASE("InstalledStore: has nothing at first") {
  const testing::TemporaryFolder folder;
  const InstalledStore store(folder.path());
  CHECK(CodeOf(store.Current()) == ErrorCode::kNotFound);
  CHECK(CodeOf(store.Rollback()) == ErrorCode::kNotFound);
}

TEST_CASE("InstalledStore: keeps the model before the current one") {
  const testing::TemporaryFolder folder;
  const InstalledStore store(folder.path());
  REQUIRE(store.Install(ToBytes("one")));
  CHECK(CodeOf(store.Previous()) == ErrorCode::kNotFound);
  REQUIRE(store.Install(ToBytes("two")));
  CHECK(Get(store.Current()) == ToBytes("two"));
  CHECK(Get(store.Previous()) == ToBytes("one"));
}

TEST_CASE("InstalledStore: installing the current model again keeps the previous one") {
  const testing::TemporaryFolder folder;
  const InstalledStore store(folder.path());
  for (const char* model : {"one", "two", "two"}) REQUIRE(store.Install(ToBytes(model)));
  CHECK(Get(store.Previous()) == ToBytes("one"));
}

TEST_CASE("InstalledStore: a rollback goes back and forth") {
  const testing::TemporaryFolder folder;
  const InstalledStore store(folder.path());
  for (const char* model : {"one", "two"}) REQUIRE(store.Install(ToBytes(model)));
  REQUIRE(store.Rollback());
  CHECK(Get(store.Current()) == ToBytes("one"));
  CHECK(Get(store.Previous()) == ToBytes("two"));
  REQUIRE(store.Rollback());
  CHECK(Get(store.Current()) == ToBytes("two"));
}

}  // namespace
}  // namespace fl::client
