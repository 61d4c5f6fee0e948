#include "fl/client/deploy/installed_store.h"

#include <doctest/doctest.h>

#include "fl/common/base/file.h"
#include "fl/tests/client/serve/small_models.h"
#include "fl/tests/support/result.h"
#include "fl/tests/support/temporary_folder.h"

namespace fl::client {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;
using fl::testing::TemporaryFolder;
using testing::SmallModelFile;

TEST_CASE("InstalledStore: has nothing at first") {
  const TemporaryFolder folder;
  const InstalledStore store(folder.path());
  CHECK(CodeOf(store.Current()) == ErrorCode::kNotFound);
  CHECK(CodeOf(store.Rollback()) == ErrorCode::kNotFound);
}

TEST_CASE("InstalledStore: keeps the model before the current one") {
  const TemporaryFolder folder;
  const InstalledStore store(folder.path());
  REQUIRE(store.Install(SmallModelFile(1)));
  CHECK(CodeOf(store.Previous()) == ErrorCode::kNotFound);
  REQUIRE(store.Install(SmallModelFile(2)));
  CHECK(Get(store.Current()) == SmallModelFile(2));
  CHECK(Get(store.Previous()) == SmallModelFile(1));
}

TEST_CASE("InstalledStore: installing the current model again keeps the previous one") {
  const TemporaryFolder folder;
  const InstalledStore store(folder.path());
  for (const std::size_t model : {1U, 2U, 2U}) REQUIRE(store.Install(SmallModelFile(model)));
  CHECK(Get(store.Previous()) == SmallModelFile(1));
}

TEST_CASE("InstalledStore: a rollback goes back and forth") {
  const TemporaryFolder folder;
  const InstalledStore store(folder.path());
  for (const std::size_t model : {1U, 2U}) REQUIRE(store.Install(SmallModelFile(model)));
  REQUIRE(store.Rollback());
  CHECK(Get(store.Current()) == SmallModelFile(1));
  CHECK(Get(store.Previous()) == SmallModelFile(2));
  REQUIRE(store.Rollback());
  CHECK(Get(store.Current()) == SmallModelFile(2));
}

TEST_CASE("InstalledStore: what does not run here is neither installed nor gone back to") {
  const TemporaryFolder folder;
  const InstalledStore store(folder.path());
  for (const std::size_t model : {1U, 2U}) REQUIRE(store.Install(SmallModelFile(model)));
  CHECK(CodeOf(store.Install(ToBytes("garbage"))) == ErrorCode::kMalformed);
  Bytes cut = SmallModelFile(0);
  cut.pop_back();
  CHECK_FALSE(store.Install(cut));
  REQUIRE(WriteFileAtomically(store.previous_path(), cut));
  CHECK_FALSE(store.Rollback());
  CHECK(Get(store.Current()) == SmallModelFile(2));
}

}  // namespace
}  // namespace fl::client
