#include "fl/client/state/device_folder.h"

#include <algorithm>
#include <fstream>

#include <doctest/doctest.h>

#include "fl/client/state/file_content_cache.h"
#include "fl/tests/client/fake_federation.h"
#include "fl/tests/support/result.h"
#include "fl/tests/support/temporary_folder.h"

namespace fl::client {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;
using fl::testing::TemporaryFolder;

TEST_CASE("DeviceFolder: gives back what was saved") {
  const TemporaryFolder temporary;
  const auto path = temporary.path() / "state";
  {
    DeviceFolder folder = Get(DeviceFolder::Open(path));
    DeviceState state = folder.TakeState();
    CHECK(state.client.empty());
    state.client = "device";
    REQUIRE(folder.Save(state));
  }
  CHECK(Get(DeviceFolder::Open(path)).TakeState().client == "device");
  CHECK(Get(DeviceFolder::ReadState(path)).client == "device");
  const auto permissions = std::filesystem::status(path).permissions();
  CHECK((permissions & (std::filesystem::perms::group_all | std::filesystem::perms::others_all)) ==
        std::filesystem::perms::none);
}

TEST_CASE("DeviceFolder: a second one on the same folder is refused") {
  const TemporaryFolder temporary;
  const DeviceFolder folder = Get(DeviceFolder::Open(temporary.path()));
  CHECK(CodeOf(DeviceFolder::Open(temporary.path())) == ErrorCode::kLocked);
}

TEST_CASE("DeviceFolder: a damaged state is refused with its path") {
  const TemporaryFolder temporary;
  std::ofstream(temporary.path() / "device.state") << "FLDS, and then garbage";
  const auto folder = DeviceFolder::Open(temporary.path());
  REQUIRE_FALSE(folder);
  CHECK(folder.error().message.find("device.state") != std::string::npos);
}

TEST_CASE("DeviceFolder: shows the newest lines of the activity log and bounds its size") {
  const TemporaryFolder temporary;
  const DeviceFolder folder = Get(DeviceFolder::Open(temporary.path()));
  const std::string line(1000, 'x');
  for (int i = 0; i < 1500; ++i) REQUIRE(folder.AppendActivity(line + std::to_string(i)));
  const auto lines = DeviceFolder::ReadActivity(temporary.path(), 2);
  REQUIRE(lines.size() == 2);
  CHECK(lines[1] == line + "1499");
  CHECK(std::filesystem::file_size(temporary.path() / "activity.jsonl") < (1U << 20) + 2000);
  for (const std::string& kept : DeviceFolder::ReadActivity(temporary.path(), 5000)) {
    CHECK(kept.size() >= 1001);
  }
}

TEST_CASE("FileContentCache: plans and models outlive the object") {
  const TemporaryFolder temporary;
  testing::FakeServer server(testing::PlanText());
  const Digest plan = server.Idle().plan;
  const auto model = std::make_shared<const NamedTensors>(server.model());
  const Digest digest = ModelDigest(model->values);
  {
    FileContentCache cache(temporary.path());
    CHECK(cache.FindPlan(plan) == nullptr);
    CHECK_FALSE(cache.HasModel(digest));
    cache.StorePlan(plan, testing::PlanText(), testing::MakePlan(testing::PlanText()));
    cache.StoreModel(digest, model);
  }
  FileContentCache cache(temporary.path());
  REQUIRE(cache.FindPlan(plan) != nullptr);
  CHECK(cache.FindPlan(plan)->plan.name == "tiny");
  CHECK(cache.HasModel(digest));
  CHECK(*cache.FindModel(digest, model->layout) == *model);
}

TEST_CASE("FileContentCache: a damaged file counts as absent") {
  const TemporaryFolder temporary;
  testing::FakeServer server(testing::PlanText());
  const auto model = std::make_shared<const NamedTensors>(server.model());
  const Digest digest = ModelDigest(model->values);
  FileContentCache cache(temporary.path());
  cache.StoreModel(digest, model);
  for (const auto& entry : std::filesystem::directory_iterator(temporary.path())) {
    std::fstream(entry.path(), std::ios::in | std::ios::out | std::ios::binary) << "x";
  }
  CHECK(cache.FindModel(digest, model->layout) == nullptr);
}

TEST_CASE("FileContentCache: keeps the two newest models") {
  const TemporaryFolder temporary;
  FileContentCache cache(temporary.path());
  const TensorLayout layout({{"a", Shape{1}}});
  std::vector<Digest> digests;
  for (int i = 0; i < 4; ++i) {
    auto model = std::make_shared<NamedTensors>(layout);
    model->values[0] = static_cast<float>(i);
    digests.push_back(ModelDigest(model->values));
    cache.StoreModel(digests.back(), std::move(model));
  }
  CHECK(cache.HasModel(digests[3]));
  CHECK(std::ranges::count_if(digests,
                              [&](const Digest& digest) { return cache.HasModel(digest); }) == 2);
}

}  // namespace
}  // namespace fl::client
