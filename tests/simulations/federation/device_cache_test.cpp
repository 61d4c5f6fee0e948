#include "fl/simulations/federation/device_cache.h"

#include <doctest/doctest.h>

namespace fl::sim {
namespace {

using Keep = DeviceCache::Keep;

Digest DigestOf(int value) {
  Digest digest;
  digest.bytes[0] = static_cast<std::byte>(value);
  return digest;
}

std::shared_ptr<const NamedTensors> Model() {
  return std::make_shared<const NamedTensors>();
}

TEST_CASE("DeviceCache: a device finds only what it has stored itself") {
  client::MemoryContentCache shared(8);
  DeviceCache first(shared, Keep::kAsLongAsShared);
  DeviceCache second(shared, Keep::kAsLongAsShared);
  first.StoreModel(DigestOf(1), Model());
  first.StorePlan(DigestOf(9), "", std::make_shared<const CheckedPlan>());
  CHECK(first.FindModel(DigestOf(1), {}) != nullptr);
  CHECK(first.FindPlan(DigestOf(9)) != nullptr);
  CHECK_FALSE(second.HasModel(DigestOf(1)));
  CHECK(second.FindModel(DigestOf(1), {}) == nullptr);
  CHECK(second.FindPlan(DigestOf(9)) == nullptr);
}

TEST_CASE("DeviceCache: what another device has made of a download is not made again") {
  client::MemoryContentCache shared(8);
  DeviceCache first(shared, Keep::kAsLongAsShared);
  DeviceCache second(shared, Keep::kAsLongAsShared);
  CHECK(second.FindMadeModel(DigestOf(1), {}) == nullptr);
  CHECK(second.FindMadePlan(DigestOf(9)) == nullptr);
  first.StoreModel(DigestOf(1), Model());
  first.StorePlan(DigestOf(9), "", std::make_shared<const CheckedPlan>());
  CHECK(second.FindMadeModel(DigestOf(1), {}) == first.FindModel(DigestOf(1), {}));
  CHECK(second.FindMadePlan(DigestOf(9)) == first.FindPlan(DigestOf(9)));
  CHECK_FALSE(second.HasModel(DigestOf(1)));
}

TEST_CASE("DeviceCache: the same content lies in memory once") {
  client::MemoryContentCache shared(8);
  DeviceCache first(shared, Keep::kAsLongAsShared);
  DeviceCache second(shared, Keep::kAsLongAsShared);
  first.StoreModel(DigestOf(1), Model());
  second.StoreModel(DigestOf(1), Model());
  CHECK(first.FindModel(DigestOf(1), {}) == second.FindModel(DigestOf(1), {}));
}

TEST_CASE("DeviceCache: the two newest models stay") {
  client::MemoryContentCache shared(8);
  DeviceCache cache(shared, Keep::kAsLongAsShared);
  for (int i = 1; i <= 3; ++i) cache.StoreModel(DigestOf(i), Model());
  CHECK_FALSE(cache.HasModel(DigestOf(1)));
  CHECK(cache.HasModel(DigestOf(2)));
  CHECK(cache.HasModel(DigestOf(3)));
}

TEST_CASE("DeviceCache: a model that is kept outlives the shared one, still once in memory") {
  client::MemoryContentCache shared(1);
  DeviceCache kept(shared, Keep::kAlways);
  DeviceCache also_kept(shared, Keep::kAlways);
  DeviceCache lent(shared, Keep::kAsLongAsShared);
  for (DeviceCache* cache : {&kept, &also_kept, &lent}) cache->StoreModel(DigestOf(1), Model());
  shared.StoreModel(DigestOf(2), Model());
  CHECK_FALSE(shared.HasModel(DigestOf(1)));
  CHECK(kept.HasModel(DigestOf(1)));
  CHECK(kept.FindModel(DigestOf(1), {}) != nullptr);
  CHECK(kept.FindModel(DigestOf(1), {}) == also_kept.FindModel(DigestOf(1), {}));
  CHECK_FALSE(lent.HasModel(DigestOf(1)));
  CHECK(lent.FindModel(DigestOf(1), {}) == nullptr);
}

}  // namespace
}  // namespace fl::sim
