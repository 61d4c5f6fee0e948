#include "fl/client/state/content_cache.h"

namespace fl::client {

std::shared_ptr<const CheckedPlan> MemoryContentCache::FindPlan(const Digest& digest) {
  return content_.With([&](Content& content) -> std::shared_ptr<const CheckedPlan> {
    const auto found = content.plans.find(digest);
    return found == content.plans.end() ? nullptr : found->second;
  });
}

void MemoryContentCache::StorePlan(const Digest& digest, std::string_view /*text*/,
                                   std::shared_ptr<const CheckedPlan> plan) {
  content_.With([&](Content& content) { content.plans[digest] = std::move(plan); });
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
    if (!content.models.emplace(digest, std::move(model)).second) return;
    content.model_order.push_back(digest);
    if (content.model_order.size() <= models_max_) return;
    content.models.erase(content.model_order.front());
    content.model_order.pop_front();
  });
}

}  // namespace fl::client
