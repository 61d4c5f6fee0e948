#include "fl/simulations/federation/federation_data.h"

#include <filesystem>
#include <string>

#include <doctest/doctest.h>

#include "fl/common/data/source.h"
#include "fl/simulations/population/population.h"
#include "fl/tests/simulations/small_federation.h"
#include "fl/tests/support/result.h"
#include "fl/tests/support/temporary_folder.h"

namespace fl::sim {
namespace {

using testing::CodeOf;
using testing::CornersData;
using testing::CornersPlan;
using testing::Get;
using testing::TemporaryFolder;

TEST_CASE("WriteShares: a device's file holds the bits of its share") {
  const TemporaryFolder folder;
  const auto plan = CornersPlan();
  const FederationData data = CornersData(*plan);
  Get(WriteShares(data, folder.path()));
  for (std::size_t device = 0; device < data.shares.size(); ++device) {
    const std::filesystem::path file = folder.path() / DeviceName(device) / "data.safetensors";
    const auto read = Get(data::OpenSource(file.string(), {}));
    CHECK(read->samples() == data.ShareOf(device).Extract());
  }
}

TEST_CASE("GroupByDevice: each device keeps its samples, which then lie together") {
  const auto plan = CornersPlan();
  const FederationData dealt = CornersData(*plan);
  const FederationData grouped = Get(GroupByDevice(dealt));
  REQUIRE(grouped.shares.size() == dealt.shares.size());
  std::uint32_t next = 0;
  for (std::size_t device = 0; device < dealt.shares.size(); ++device) {
    CHECK(grouped.ShareOf(device).Extract() == dealt.ShareOf(device).Extract());
    for (const std::uint32_t index : grouped.shares[device]) CHECK(index == next++);
  }
  CHECK(grouped.training->normalization().kind == dealt.training->normalization().kind);
  CHECK(grouped.evaluation == dealt.evaluation);
}

TEST_CASE("LoadFederationData: the first root that has the source is taken") {
  const TemporaryFolder folder;
  const auto plan =
      CornersPlan({"simulation.data=\"device-0000/data.safetensors\"",
                   "evaluation.data=\"device-0001/data.safetensors\"", "simulation.devices=2",
                   "rounds.population_min=2", "rounds.goal=2"});
  const FederationData all = CornersData(*plan);
  Get(WriteShares(all, folder.path()));
  const FederationData found =
      Get(LoadFederationData(*plan, {folder.path() / "elsewhere", folder.path()}));
  CHECK(found.training->samples() == all.ShareOf(0).Extract());
  CHECK(found.evaluation->samples() == all.ShareOf(1).Extract());
  CHECK(found.shares.size() == 2);
}

TEST_CASE("LoadFederationData: a source that is nowhere names the folders that were tried") {
  const auto plan = CornersPlan({"simulation.data=\"nowhere.csv\""});
  const auto loaded = LoadFederationData(*plan, {"/one", "/two"});
  REQUIRE(CodeOf(loaded) == ErrorCode::kNotFound);
  CHECK(loaded.error().message.find("/one/nowhere.csv") != std::string::npos);
  CHECK(loaded.error().message.find("/two/nowhere.csv") != std::string::npos);
  CHECK(loaded.error().message.find("data.root") != std::string::npos);
}

TEST_CASE("LoadFederationData: a plan without data for the devices is refused") {
  const auto plan = CornersPlan({"simulation.data=\"\""});
  CHECK(CodeOf(LoadFederationData(*plan, {""})) == ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace fl::sim
