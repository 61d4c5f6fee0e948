#include "fl/simulations/federation/shared_contents.h"

#include "fl/common/crypto/sha256.h"

namespace fl::sim {
namespace {

constexpr std::uint64_t kVerifiedBytesMax = 1ULL << 25;

}  // namespace

bool SharedContents::IsBlob(const Digest& digest, ByteSpan bytes) {
  return verified_.With([&](Verified& verified) {
    const auto found = verified.blobs.find(digest);
    if (found != verified.blobs.end()) return AsText(found->second) == AsText(bytes);
    if (crypto::Sha256(bytes) != digest) return false;
    verified.blobs.emplace(digest, Bytes(bytes.begin(), bytes.end()));
    verified.order.push_back(digest);
    verified.bytes += bytes.size();
    while (verified.bytes > kVerifiedBytesMax) {
      const auto oldest = verified.blobs.find(verified.order.front());
      verified.bytes -= oldest->second.size();
      verified.blobs.erase(oldest);
      verified.order.pop_front();
    }
    return true;
  });
}

}  // namespace fl::sim
