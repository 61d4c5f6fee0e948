#include "fl/simulations/partition/partition.h"

#include <algorithm>
#include <numeric>
#include <set>

#include <doctest/doctest.h>

#include "fl/tests/support/property.h"
#include "fl/tests/support/result.h"

namespace fl::sim {
namespace {

using testing::CodeOf;
using testing::ForAll;
using testing::Get;

std::vector<std::int64_t> RandomValues(std::size_t count, std::uint64_t kinds, RngStream rng) {
  std::vector<std::int64_t> values(count);
  for (auto& value : values) value = static_cast<std::int64_t>(rng.UniformInteger(kinds));
  return values;
}

// Each sample exactly once, each share ascending.
void CheckCovers(const Shares& shares, std::size_t samples) {
  std::vector<int> seen(samples);
  for (const auto& share : shares) {
    CHECK(std::ranges::is_sorted(share));
    for (const std::uint32_t i : share) ++seen.at(i);
  }
  CHECK(std::ranges::all_of(seen, [](int count) { return count == 1; }));
}

std::size_t KindsIn(const std::vector<std::uint32_t>& share,
                    const std::vector<std::int64_t>& values) {
  std::set<std::int64_t> kinds;
  for (const std::uint32_t i : share) kinds.insert(values[i]);
  return kinds.size();
}

TEST_CASE("Partition: every kind deals each sample exactly once and the same for the same seed") {
  ForAll(20, [](RngStream& rng) {
    const std::size_t samples = 400 + rng.UniformInteger(500);
    SampleFacts facts{samples, RandomValues(samples, 10, rng.Child("labels")),
                      RandomValues(samples, 80, rng.Child("clients"))};
    SimulationConfig config;
    config.devices = static_cast<std::uint32_t>(1 + rng.UniformInteger(30));
    for (const char* kind : {"iid", "dirichlet", "shards", "natural"}) {
      CAPTURE(kind);
      config.partition = kind;
      const Shares shares = Get(Partition(config, facts, 5));
      CHECK(shares.size() == config.devices);
      CheckCovers(shares, samples);
      CHECK(shares == Get(Partition(config, facts, 5)));
    }
  });
}

TEST_CASE("PartitionIid: sizes differ by one at most") {
  for (const auto& share : Get(PartitionIid(1003, 10, RngStream(1)))) {
    CHECK(share.size() >= 100);
    CHECK(share.size() <= 101);
  }
}

TEST_CASE("PartitionDirichlet: each device gets the least and a small alpha gives few labels") {
  const auto labels = RandomValues(5000, 10, RngStream(3));
  for (const double alpha : {0.05, 0.5, 100.0}) {
    CAPTURE(alpha);
    const Shares shares =
        Get(PartitionDirichlet(labels, 50, {.alpha = alpha, .samples_min = 12}, RngStream(1)));
    std::size_t kinds = 0;
    for (const auto& share : shares) {
      CHECK(share.size() >= 12);
      kinds += KindsIn(share, labels);
    }
    if (alpha < 0.1) CHECK(kinds < 50 * 4);
    if (alpha > 10) CHECK(kinds > 50 * 9);
  }
}

TEST_CASE("PartitionDirichlet: exactly enough samples are enough and one fewer is refused") {
  const auto labels = RandomValues(100, 10, RngStream(3));
  const DirichletConfig ten{.alpha = 0.1, .samples_min = 10};
  for (const auto& share : Get(PartitionDirichlet(labels, 10, ten, RngStream(1))))
    CHECK(share.size() == 10);
  CHECK(CodeOf(PartitionDirichlet(std::span(labels).first(99), 10, ten, RngStream(1))) ==
        ErrorCode::kInvalidArgument);
}

TEST_CASE(
    "PartitionShards: two shards of sorted labels give a device at most four labels and most two") {
  const auto labels = RandomValues(60000, 10, RngStream(3));
  const Shares shares = Get(PartitionShards(labels, 100, 2, RngStream(1)));
  std::size_t two_at_most = 0;
  for (const auto& share : shares) {
    CHECK(share.size() == 600);
    CHECK(KindsIn(share, labels) <= 4);
    two_at_most += KindsIn(share, labels) <= 2 ? 1 : 0;
  }
  CHECK(two_at_most >= 80);
}

TEST_CASE("PartitionNatural: a natural client is never divided") {
  const auto clients = RandomValues(6000, 539, RngStream(3));
  const Shares shares = Get(PartitionNatural(clients, 100, RngStream(1)));
  std::vector<std::size_t> owner(539, 100);
  for (std::size_t d = 0; d < shares.size(); ++d) {
    const std::size_t kinds = KindsIn(shares[d], clients);
    CHECK((kinds == 5 || kinds == 6));
    for (const std::uint32_t i : shares[d]) {
      std::size_t& device = owner[static_cast<std::size_t>(clients[i])];
      if (device == 100) device = d;
      CHECK(device == d);
    }
  }
}

TEST_CASE("Partition: a split seed deals alike whatever the plan's seed is") {
  SimulationConfig config;
  config.devices = 10;
  const SampleFacts facts{200, RandomValues(200, 4, RngStream(1)),
                          RandomValues(200, 20, RngStream(2))};
  for (const char* kind : {"iid", "dirichlet", "shards", "natural"}) {
    CAPTURE(kind);
    config.partition = kind;
    config.split_seed = 0;
    const Shares five = Get(Partition(config, facts, 5));
    CHECK(Get(Partition(config, facts, 6)) != five);
    config.split_seed = 5;
    CHECK(Get(Partition(config, facts, 5)) == five);
    CHECK(Get(Partition(config, facts, 6)) == five);
    config.split_seed = 6;
    CHECK(Get(Partition(config, facts, 5)) != five);
  }
}

TEST_CASE("Partition: what cannot be dealt is refused") {
  SimulationConfig config;
  config.devices = 11;
  const SampleFacts ten{10, std::vector<std::int64_t>(10, 1), std::vector<std::int64_t>(10, 1)};
  for (const char* kind : {"iid", "dirichlet", "shards", "natural"}) {
    CAPTURE(kind);
    config.partition = kind;
    CHECK(CodeOf(Partition(config, ten, 1)) == ErrorCode::kInvalidArgument);
  }
  config.devices = 1;
  config.partition = "by colour";
  CHECK(CodeOf(Partition(config, ten, 1)) == ErrorCode::kInvalidArgument);
  config.partition = "natural";
  CHECK(CodeOf(Partition(config, {10, {}, {}}, 1)) == ErrorCode::kInvalidArgument);
  config.partition = "shards";
  CHECK(CodeOf(Partition(config, {10, {}, {}}, 1)) == ErrorCode::kInvalidArgument);
  config.shards_per_device = 0;
  CHECK(CodeOf(Partition(config, ten, 1)) == ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace fl::sim
