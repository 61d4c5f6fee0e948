#include "fl/server/http/revocation_watch.h"

#include <vector>

#include <doctest/doctest.h>

#include "fl/common/crypto/revocation_list.h"
#include "fl/tests/common/net/tls_fixture.h"
#include "fl/tests/support/process.h"
#include "fl/tests/support/temporary_folder.h"

namespace {

using namespace fl;           // NOLINT(google-build-using-namespace): a test.
using namespace fl::testing;  // NOLINT(google-build-using-namespace): a test.

// A watch over a file, with what it has put in force.
struct Watched {
  explicit Watched(const std::string& at_first = "")
      : watch(
            file, at_first, [this](const std::string& list) { return Take(list); }, logger) {
    if (!at_first.empty()) WriteText(file, at_first);
  }
  Result<> Take(const std::string& list) {
    ++offered;
    FL_TRY_OK(crypto::RevocationList::FromPem(list, pki.authority().certificate()));
    taken.push_back(list);
    return Ok{};
  }
  std::string ListOf(const std::string& name) const {
    return pki.Revoke({pki.Client(name).certificate});
  }

  TemporaryFolder folder;
  const std::filesystem::path file = folder.path() / "revoked.crl";
  const TestPki pki;
  const Logger logger{LogLevel::kOff};
  int offered = 0;
  std::vector<std::string> taken;
  server::RevocationWatch watch;
};

}  // namespace

TEST_CASE("RevocationWatch: a list that appears, and each that replaces it, comes into force") {
  Watched watched;
  watched.watch.Look();
  CHECK(watched.offered == 0);
  const std::string first = watched.ListOf("a");
  const std::string second = watched.ListOf("b");
  WriteText(watched.file, first);
  watched.watch.Look();
  watched.watch.Look();
  WriteText(watched.file, second);
  watched.watch.Look();
  CHECK(watched.taken == std::vector<std::string>{first, second});
  CHECK(watched.offered == 2);
}

TEST_CASE("RevocationWatch: the list that the server began with is not put in force again") {
  const TestPki pki;
  Watched watched(pki.Revoke({}));
  watched.watch.Look();
  CHECK(watched.offered == 0);
}

TEST_CASE("RevocationWatch: what is damaged, foreign or gone keeps the list before") {
  Watched watched;
  const std::string first = watched.ListOf("a");
  WriteText(watched.file, first);
  watched.watch.Look();
  WriteText(watched.file, first.substr(0, first.size() / 2));
  watched.watch.Look();
  WriteText(watched.file, TestPki().Revoke({}));
  watched.watch.Look();
  std::filesystem::remove(watched.file);
  watched.watch.Look();
  CHECK(watched.offered == 3);
  CHECK(watched.taken == std::vector<std::string>{first});
  const std::string second = watched.ListOf("b");
  WriteText(watched.file, second);
  watched.watch.Look();
  CHECK(watched.taken == std::vector<std::string>{first, second});
}
