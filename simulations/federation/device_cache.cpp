#include "fl/simulations/federation/device_cache.h"

#include <algorithm>
#include <utility>

namespace fl::sim {
namespace {

constexpr std::size_t kModelsMax = 2;

}  // namespace

std::shared_ptr<const CheckedPlan> DeviceCache::FindPlan(const Digest& digest) {
  return plan_ == digest ? shared_.FindPlan(digest) : nullptr;
}

void DeviceCache::StorePlan(const Digest& digest, std::string_view text,
                            std::shared_ptr<const CheckedPlan> plan) {
  plan_ = digest;
  if (shared_.FindPlan(digest) == nullptr) shared_.StorePlan(digest, text, std::move(plan));
}

bool DeviceCache::HasModel(const Digest& digest) {
  return std::ranges::find(models_, digest) != models_.end() && shared_.HasModel(digest);
}

std::shared_ptr<const NamedTensors> DeviceCache::FindModel(const Digest& digest,
                                                           const TensorLayout& layout) {
  return HasModel(digest) ? shared_.FindModel(digest, layout) : nullptr;
}

void DeviceCache::StoreModel(const Digest& digest, std::shared_ptr<const NamedTensors> model) {
  std::erase(models_, digest);
  models_.push_back(digest);
  if (models_.size() > kModelsMax) models_.pop_front();
  if (!shared_.HasModel(digest)) shared_.StoreModel(digest, std::move(model));
}

}  // namespace fl::sim
