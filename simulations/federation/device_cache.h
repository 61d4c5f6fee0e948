#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string_view>

#include "fl/client/state/content_cache.h"

namespace fl::sim {

// What one device has downloaded. The contents lie once in a cache that all devices share, but a
// device finds only what it has fetched itself, so that it moves the same bytes as a device with a
// disk of its own. Knows the plan and the two newest models, as long as the shared cache has them.
// Thread safety: distinct objects safe.
class DeviceCache final : public client::ContentCache {
 public:
  // `shared` outlives the object.
  explicit DeviceCache(client::ContentCache& shared) : shared_(shared) {}

  std::shared_ptr<const CheckedPlan> FindPlan(const Digest& digest) override;
  void StorePlan(const Digest& digest, std::string_view text,
                 std::shared_ptr<const CheckedPlan> plan) override;
  bool HasModel(const Digest& digest) override;
  std::shared_ptr<const NamedTensors> FindModel(const Digest& digest,
                                                const TensorLayout& layout) override;
  void StoreModel(const Digest& digest, std::shared_ptr<const NamedTensors> model) override;

 private:
  client::ContentCache& shared_;
  std::optional<Digest> plan_;
  std::deque<Digest> models_;  // Oldest first.
};

}  // namespace fl::sim
