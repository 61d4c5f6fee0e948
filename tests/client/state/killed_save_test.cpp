// A process that dies inside a write of the device folder, at each of its system calls; the folder
// is then opened by the parent.

#include <fstream>

#include <doctest/doctest.h>

#include "fl/client/state/device_folder.h"
#include "fl/client/state/file_content_cache.h"
#include "fl/tests/support/dying_calls.h"
#include "fl/tests/support/result.h"
#include "fl/tests/support/temporary_folder.h"

namespace fl::client {
namespace {

using fl::testing::Get;
using fl::testing::TemporaryFolder;

// A device before and after its update was acknowledged.
DeviceState StateOf(float value, bool staged) {
  auto tensors = std::make_shared<NamedTensors>(TensorLayout({{"dense1.weight", Shape{200, 50}}}));
  std::ranges::fill(tensors->values, value);
  DeviceState state;
  state.client = "device";
  state.residual = tensors;
  state.velocity = tensors;
  if (!staged) return state;
  StagedUpdate update;
  update.round = 3;
  update.update = ToBytes("an update");
  update.residual = tensors;
  state.staged = std::move(update);
  return state;
}

TEST_CASE("DeviceFolder: killed at any call of a save it holds the state before or after") {
  const Bytes before = StateOf(1, true).Encode();
  const Bytes after = StateOf(2, false).Encode();
  std::size_t seen_before = 0;
  std::size_t seen_after = 0;
  const TemporaryFolder temporary;
  for (long nth = 0;; ++nth) {
    CAPTURE(nth);
    REQUIRE(nth < 100);
    REQUIRE(Get(DeviceFolder::Open(temporary.path())).Save(StateOf(1, true)));
    // What an earlier death left behind lies in the way of this one.
    const bool killed = fl::testing::DiesAfter(nth, [&] {
      auto folder = DeviceFolder::Open(temporary.path());
      if (!folder || !folder->Save(StateOf(2, false))) ::_exit(1);
    });
    DeviceFolder folder = Get(DeviceFolder::Open(temporary.path()));
    const Bytes found = folder.TakeState().Encode();
    CHECK((found == before || found == after));
    ++(found == before ? seen_before : seen_after);
    // It goes on from either.
    REQUIRE(folder.Save(StateOf(3, false)));
    CHECK(Get(DeviceFolder::ReadState(temporary.path())).Encode() == StateOf(3, false).Encode());
    if (killed) continue;
    CHECK(found == after);
    break;
  }
  CHECK(seen_before >= 5);  // The temporary file: open, mode, write, flush; then the rename.
  CHECK(seen_after >= 3);   // The folder: open, flush; and undisturbed.
}

TEST_CASE("DeviceFolder: a new device killed at any call of its first save is new or saved") {
  const Bytes after = StateOf(2, true).Encode();
  for (long nth = 0;; ++nth) {
    CAPTURE(nth);
    REQUIRE(nth < 100);
    const TemporaryFolder temporary;
    const bool killed = fl::testing::DiesAfter(nth, [&] {
      auto folder = DeviceFolder::Open(temporary.path());
      if (!folder || !folder->Save(StateOf(2, true))) ::_exit(1);
    });
    const Bytes found = Get(DeviceFolder::Open(temporary.path())).TakeState().Encode();
    CHECK((found == DeviceState().Encode() || found == after));
    if (killed) continue;
    CHECK(found == after);
    return;
  }
}

TEST_CASE("FileContentCache: killed at any call of a store it holds the model or none") {
  auto model = std::make_shared<NamedTensors>(TensorLayout({{"a", Shape{5000}}}));
  std::ranges::fill(model->values, 0.5F);
  const Digest digest = ModelDigest(model->values);
  for (long nth = 0;; ++nth) {
    CAPTURE(nth);
    REQUIRE(nth < 100);
    const TemporaryFolder temporary;
    const bool killed = fl::testing::DiesAfter(
        nth, [&] { FileContentCache(temporary.path()).StoreModel(digest, model); });
    FileContentCache cache(temporary.path());
    const auto found = cache.FindModel(digest, model->layout);
    CHECK((found == nullptr || *found == *model));
    CHECK(cache.HasModel(digest) == (found != nullptr));
    if (killed) continue;
    CHECK(found != nullptr);
    return;
  }
}

// Without power a file that was not flushed may be of any length, with anything in it; what counts
// was flushed before its name was given, so such a file has another name.
TEST_CASE("DeviceFolder: whatever lies in the temporary file's place is not read") {
  const TemporaryFolder temporary;
  const DeviceFolder folder = Get(DeviceFolder::Open(temporary.path()));
  REQUIRE(folder.Save(StateOf(1, true)));
  const Bytes newer = StateOf(2, false).Encode();
  for (std::size_t size = 0; size <= newer.size(); size += 997) {
    CAPTURE(size);
    std::ofstream(temporary.path() / "device.state.tmp", std::ios::binary)
        .write(reinterpret_cast<const char*>(newer.data()), static_cast<std::streamsize>(size));
    CHECK(Get(DeviceFolder::ReadState(temporary.path())).Encode() == StateOf(1, true).Encode());
  }
  REQUIRE(folder.Save(StateOf(3, false)));
  CHECK(Get(DeviceFolder::ReadState(temporary.path())).Encode() == StateOf(3, false).Encode());
}

}  // namespace
}  // namespace fl::client
