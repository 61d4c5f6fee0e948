#include "fl/common/crypto/sha256.h"

#include <string>

#include <doctest/doctest.h>

namespace {

using namespace fl;          // NOLINT(google-build-using-namespace): a test.
using namespace fl::crypto;  // NOLINT(google-build-using-namespace): a test.

}  // namespace

TEST_CASE("Sha256: the vectors of FIPS 180-4 come out") {
  CHECK(Sha256({}).ToHex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(Sha256(AsBytes("abc")).ToHex() ==
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(Sha256(AsBytes(std::string(1000000, 'a'))).ToHex() ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("Sha256Stream: any cut gives the digest of the whole and Finish starts afresh") {
  const std::string text(200, 'x');
  Sha256Stream stream;
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    stream.Update(AsBytes(std::string_view(text).substr(0, cut)));
    stream.Update(AsBytes(std::string_view(text).substr(cut)));
    CHECK(stream.Finish() == Sha256(AsBytes(text)));
  }
}

TEST_CASE("Sha256Stream: a copy goes on by itself") {
  Sha256Stream stream;
  stream.Update(AsBytes("ab"));
  Sha256Stream copy(stream);
  stream.Update(AsBytes("x"));
  copy.Update(AsBytes("c"));
  CHECK(copy.Finish() == Sha256(AsBytes("abc")));
  CHECK(stream.Finish() == Sha256(AsBytes("abx")));
}
