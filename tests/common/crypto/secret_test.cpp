#include "fl/common/crypto/secret.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include <doctest/doctest.h>

#include "fl/common/base/file.h"
#include "fl/common/crypto/key_file.h"
#include "fl/common/crypto/secure_random.h"
#include "fl/tests/support/result.h"
#include "fl/tests/support/temporary_folder.h"

namespace {

using namespace fl;           // NOLINT(google-build-using-namespace): a test.
using namespace fl::crypto;   // NOLINT(google-build-using-namespace): a test.
using namespace fl::testing;  // NOLINT(google-build-using-namespace): a test.
namespace fs = std::filesystem;

}  // namespace

TEST_CASE("Secret: moving leaves the source empty and the bytes in one place") {
  Secret first = Secret::Copy(AsBytes("key"));
  Secret second = std::move(first);
  CHECK(first.empty());  // NOLINT(bugprone-use-after-move): what the case is about.
  CHECK(second.text() == "key");
  first = std::move(second);
  CHECK(first.text() == "key");
}

TEST_CASE("Wipe: every byte becomes zero") {
  Bytes bytes = ToBytes("a secret of some length");
  Wipe(bytes);
  CHECK(std::ranges::count(bytes, std::byte{0}) == static_cast<long>(bytes.size()));
}

TEST_CASE("SecureRandom: two draws differ and each byte is drawn") {
  std::array<std::byte, 32> first{};
  std::array<std::byte, 32> second{};
  SecureRandom().Fill(first);
  SecureRandom().Fill(second);
  CHECK(first != second);  // Equal once in 2^256 runs.
  // 4096 bytes: that one of the 256 values is absent has a chance of 256 * (255/256)^4096 = 3e-5
  // for true random bytes; we ask for 200 values, which no plausible run misses.
  Bytes many(4096);
  SecureRandom().Fill(many);
  std::ranges::sort(many);
  const auto repeated = std::ranges::unique(many);
  CHECK(many.size() - repeated.size() > 200);
}

TEST_CASE("WriteKeyFile: the file is its owner's alone and is never overwritten") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "client.key";
  REQUIRE(WriteKeyFile(path, Secret::Copy(AsBytes("key"))));
  CHECK((fs::status(path).permissions() & fs::perms::all) ==
        (fs::perms::owner_read | fs::perms::owner_write));
  CHECK(CodeOf(WriteKeyFile(path, Secret::Copy(AsBytes("other")))) == ErrorCode::kInvalidArgument);
  CHECK(Get(ReadKeyFile(path)).text() == "key");
}

TEST_CASE(
    "ReadKeyFile: a key that others can reach is refused and the message says how to mend it") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "client.key";
  REQUIRE(WriteKeyFile(path, Secret::Copy(AsBytes("key"))));
  for (const fs::perms extra : {fs::perms::group_read, fs::perms::others_read,
                                fs::perms::group_write, fs::perms::others_write}) {
    fs::permissions(path, fs::perms::owner_read | extra);
    const auto refused = ReadKeyFile(path);
    REQUIRE(CodeOf(refused) == ErrorCode::kUnauthorized);
    CHECK(refused.error().message.find("chmod 600 " + path.string()) != std::string::npos);
  }
  CHECK(CodeOf(ReadKeyFile(folder.path() / "absent.key")) == ErrorCode::kNotFound);
}
