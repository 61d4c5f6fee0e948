#include "fl/client/state/content_cache.h"

#include "fl/common/crypto/sha256.h"

namespace fl::client {
namespace {

// Adds what is not there yet, and drops the oldest beyond `count`.
template <typename T>
void KeepNewest(std::map<Digest, T>& held, std::deque<Digest>& order, std::size_t count,
                const Digest& digest, T added) {
  if (!held.emplace(digest, std::move(added)).second) return;
  order.push_back(digest);
  if (order.size() <= count) return;
  held.erase(order.front());
  order.pop_front();
}

}  // namespace

bool ContentCache::IsBlob(const Digest& digest, ByteSpan bytes) {
  return crypto::Sha256(bytes) == digest;
}

std::shared_ptr<const CheckedPlan> ContentCache::FindMadePlan(const Digest& /*digest*/) {
  return nullptr;
}

std::shared_ptr<const NamedTensors> ContentCache::FindMadeModel(const Digest& /*digest*/,
                                                                const TensorLayout& /*layout*/) {
  return nullptr;
}

std::shared_ptr<const CheckedPlan> MemoryContentCache::FindPlan(const Digest& digest) {
  return content_.With([&](Content& content) -> std::shared_ptr<const CheckedPlan> {
    const auto found = content.plans.find(digest);
    return found == content.plans.end() ? nullptr : found->second;
  });
}

void MemoryContentCache::StorePlan(const Digest& digest, std::string_view /*text*/,
                                   std::shared_ptr<const CheckedPlan> plan) {
  content_.With([&](Content& content) {
    KeepNewest(content.plans, content.plan_order, plans_max_, digest, std::move(plan));
  });
}

bool MemoryContentCache::HasModel(const Digest& digest) {
  return content_.With([&](Content& content) { return content.models.contains(digest); });
}

std::shared_ptr<const NamedTensors> MemoryContentCache::FindModel(const Digest& digest,
                                                                  const TensorLayout& layout) {
  auto model = content_.With([&](Content& content) -> std::shared_ptr<const NamedTensors> {
    const auto found = content.models.find(digest);
    return found == content.models.end() ? nullptr : found->second;
  });
  return model != nullptr && model->layout == layout ? model : nullptr;
}

void MemoryContentCache::StoreModel(const Digest& digest,
                                    std::shared_ptr<const NamedTensors> model) {
  content_.With([&](Content& content) {
    KeepNewest(content.models, content.model_order, models_max_, digest, std::move(model));
  });
}

}  // namespace fl::client
