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

const DeviceCache::Held* DeviceCache::Find(const Digest& digest) const {
  const auto found = std::ranges::find(models_, digest, &Held::digest);
  return found == models_.end() ? nullptr : &*found;
}

bool DeviceCache::HasModel(const Digest& digest) {
  const Held* held = Find(digest);
  return held != nullptr && (held->model != nullptr || shared_.HasModel(digest));
}

std::shared_ptr<const NamedTensors> DeviceCache::FindModel(const Digest& digest,
                                                           const TensorLayout& layout) {
  const Held* held = Find(digest);
  if (held == nullptr) return nullptr;
  if (held->model == nullptr) return shared_.FindModel(digest, layout);
  return held->model->layout == layout ? held->model : nullptr;
}

void DeviceCache::StoreModel(const Digest& digest, std::shared_ptr<const NamedTensors> model) {
  if (auto same = shared_.FindModel(digest, model->layout)) {
    model = std::move(same);
  } else {
    shared_.StoreModel(digest, model);
  }
  std::erase_if(models_, [&](const Held& held) { return held.digest == digest; });
  models_.push_back({digest, keep_ == Keep::kAlways ? std::move(model) : nullptr});
  if (models_.size() > kModelsMax) models_.pop_front();
}

bool DeviceCache::IsBlob(const Digest& digest, ByteSpan bytes) {
  return shared_.IsBlob(digest, bytes);
}

std::shared_ptr<const CheckedPlan> DeviceCache::FindMadePlan(const Digest& digest) {
  return shared_.FindPlan(digest);
}

std::shared_ptr<const NamedTensors> DeviceCache::FindMadeModel(const Digest& digest,
                                                               const TensorLayout& layout) {
  return shared_.FindModel(digest, layout);
}

}  // namespace fl::sim
