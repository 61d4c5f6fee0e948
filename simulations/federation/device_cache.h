#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string_view>

#include "fl/client/state/content_cache.h"

namespace fl::sim {

// What one device has downloaded. The contents lie once in a cache that all devices share, but a
// device finds only what it has fetched itself, so that it moves the same bytes as a device with a
// disk of its own; what the shared cache knows spares it only the work on these bytes. Knows the
// plan and the two newest models: with Keep::kAsLongAsShared while the shared cache has them, with
// Keep::kAlways until newer ones take their place, however many models have passed through the
// shared cache in between. Thread safety: distinct objects safe.
class DeviceCache final : public client::ContentCache {
 public:
  enum class Keep : std::uint8_t { kAsLongAsShared, kAlways };

  // `shared` outlives the object.
  DeviceCache(client::ContentCache& shared, Keep keep) : shared_(shared), keep_(keep) {}

  std::shared_ptr<const CheckedPlan> FindPlan(const Digest& digest) override;
  void StorePlan(const Digest& digest, std::string_view text,
                 std::shared_ptr<const CheckedPlan> plan) override;
  bool HasModel(const Digest& digest) override;
  std::shared_ptr<const NamedTensors> FindModel(const Digest& digest,
                                                const TensorLayout& layout) override;
  void StoreModel(const Digest& digest, std::shared_ptr<const NamedTensors> model) override;
  bool IsBlob(const Digest& digest, ByteSpan bytes) override;
  std::shared_ptr<const CheckedPlan> FindMadePlan(const Digest& digest) override;
  std::shared_ptr<const NamedTensors> FindMadeModel(const Digest& digest,
                                                    const TensorLayout& layout) override;

 private:
  struct Held {
    Digest digest;
    std::shared_ptr<const NamedTensors> model;  // Null where the shared cache's is to be used.
  };
  const Held* Find(const Digest& digest) const;

  client::ContentCache& shared_;
  Keep keep_;
  std::optional<Digest> plan_;
  std::deque<Held> models_;  // Oldest first.
};

}  // namespace fl::sim
