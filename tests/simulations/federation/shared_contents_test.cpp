#include "fl/simulations/federation/shared_contents.h"

#include <vector>

#include <doctest/doctest.h>

#include "fl/common/crypto/sha256.h"

namespace fl::sim {
namespace {

TEST_CASE("SharedContents: a blob is one whose bytes have the digest, the first time and later") {
  SharedContents contents(1);
  const Bytes blob(100000, std::byte{7});
  Bytes other = blob;
  other.back() = std::byte{8};
  const Digest digest = crypto::Sha256(blob);
  CHECK_FALSE(contents.IsBlob(digest, other));
  for (int i = 0; i < 2; ++i) {
    CHECK(contents.IsBlob(digest, blob));
    CHECK_FALSE(contents.IsBlob(digest, other));
    CHECK_FALSE(contents.IsBlob(digest, ByteSpan(blob).first(blob.size() - 1)));
  }
}

TEST_CASE("SharedContents: more than it remembers is still told apart") {
  SharedContents contents(1);
  std::vector<Bytes> blobs;
  blobs.reserve(5);
  for (int i = 0; i < 5; ++i) blobs.emplace_back(std::size_t{10} << 20U, std::byte(i));
  for (int round = 0; round < 2; ++round) {
    for (const Bytes& blob : blobs) {
      const Digest digest = crypto::Sha256(blob);
      CHECK(contents.IsBlob(digest, blob));
      CHECK_FALSE(contents.IsBlob(digest, ByteSpan(blob).subspan(1)));
    }
  }
}

}  // namespace
}  // namespace fl::sim
