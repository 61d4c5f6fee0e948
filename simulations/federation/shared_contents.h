#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>

#include "fl/client/state/content_cache.h"

namespace fl::sim {

// What all devices of a simulation share: plans and models once in memory, and the newest downloads
// whose digest was found right, so that the next device that fetches the same bytes compares them
// instead of hashing them. Thread safety: shared objects safe.
class SharedContents final : public client::MemoryContentCache {
 public:
  explicit SharedContents(std::size_t models_max) : MemoryContentCache(models_max) {}

  bool IsBlob(const Digest& digest, ByteSpan bytes) override;

 private:
  struct Verified {
    std::map<Digest, Bytes> blobs;
    std::deque<Digest> order;  // Oldest first.
    std::uint64_t bytes = 0;   // Of all.
  };
  Guarded<Verified> verified_;
};

}  // namespace fl::sim
