#include <cstdlib>
#include <filesystem>
#include <string>

#include <doctest/doctest.h>
#include <sys/wait.h>

#include "fl/common/base/file.h"
#include "fl/common/crypto/certificate.h"
#include "fl/common/net/http.h"
#include "fl/tests/common/net/handlers.h"
#include "fl/tests/support/result.h"
#include "fl/tests/support/temporary_folder.h"

namespace {

using namespace fl;           // NOLINT(google-build-using-namespace): a test.
using namespace fl::testing;  // NOLINT(google-build-using-namespace): a test.
namespace fs = std::filesystem;
using net::TlsSide;

// A folder in which fl-pki runs, and what it printed last.
class Workshop {
 public:
  // The exit status.
  int Run(const std::string& arguments) {
    const std::string command = "cd '" + folder_.path().string() + "' && '" FL_PKI_PROGRAM "' " +
                                arguments + " >output 2>&1";
    const int status = std::system(command.c_str());  // NOLINT(concurrency-mt-unsafe): one thread.
    return WEXITSTATUS(status);
  }
  std::string Output() const { return std::string(AsText(Get(ReadFile(path("output"), 1 << 20)))); }
  bool OutputHas(const std::string& text) const { return Output().find(text) != std::string::npos; }
  fs::path path(const std::string& name) const { return folder_.path() / name; }
  bool Has(const std::string& name) const { return fs::exists(path(name)); }

 private:
  TemporaryFolder folder_;
};

// What a client with this folder gets from a server with that one.
ErrorCode Meet(const fs::path& server_folder, const fs::path& client_folder) {
  EchoHandler handler;
  const auto server = Get(net::HttpServer::Start(
      "127.0.0.1", 0, Get(net::LoadTlsFiles(server_folder, TlsSide::kServer)), {}, 1, handler));
  const auto client = Get(net::HttpClient::Create(
      "127.0.0.1", server->port(), Get(net::LoadTlsFiles(client_folder, TlsSide::kClient)), {}));
  return CodeOf(
      client->Exchange({.method = "GET", .target = "/", .host = "x", .headers = {}, .body = {}},
                       std::chrono::seconds(60)));
}

}  // namespace

TEST_CASE("fl-pki: issued folders let a device and a server meet until the device is revoked") {
  Workshop work;
  REQUIRE(work.Run("init ca") == 0);
  REQUIRE(work.Run("issue ca main --role server --host 127.0.0.1 --out server") == 0);
  REQUIRE(work.Run("issue ca device-7 --out device --days 30") == 0);
  REQUIRE(work.Run("issue ca ada --role admin") == 0);
  CHECK(Meet(work.path("server"), work.path("device")) == ErrorCode::kOk);
  CHECK(Meet(work.path("server"), work.path("ada")) == ErrorCode::kOk);
  REQUIRE(work.Run("revoke ca device-7") == 0);
  fs::copy_file(work.path("ca/revoked.crl"), work.path("server/revoked.crl"),
                fs::copy_options::overwrite_existing);
  CHECK(Meet(work.path("server"), work.path("device")) == ErrorCode::kUnauthorized);
  CHECK(Meet(work.path("server"), work.path("ada")) == ErrorCode::kOk);
}

TEST_CASE("fl-pki: a key that is born on the device gets its certificate by request and sign") {
  Workshop work;
  REQUIRE(work.Run("init ca") == 0);
  REQUIRE(work.Run("issue ca main --role server --host 127.0.0.1 --out server") == 0);
  REQUIRE(work.Run("request device-8 --out device") == 0);
  CHECK(work.Has("device/client.key"));
  fs::copy_file(work.path("device/client.csr"), work.path("client.csr"));
  REQUIRE(work.Run("sign ca client.csr --out signed") == 0);
  CHECK(work.OutputHas("device-8 (client)"));
  CHECK_FALSE(work.Has("signed/client.key"));
  fs::copy_file(work.path("signed/ca.crt"), work.path("device/ca.crt"));
  fs::copy_file(work.path("signed/client.crt"), work.path("device/client.crt"));
  CHECK(Meet(work.path("server"), work.path("device")) == ErrorCode::kOk);
}

TEST_CASE("fl-pki: folders and keys are private and each role has its own file names") {
  Workshop work;
  REQUIRE(work.Run("init ca") == 0);
  REQUIRE(work.Run("issue ca main --role server --host fl.example --out server") == 0);
  REQUIRE(work.Run("issue ca device-7 --out device") == 0);
  for (const char* const name : {"server/ca.crt", "server/server.crt", "server/server.key",
                                 "server/revoked.crl", "device/ca.crt", "device/client.crt"}) {
    CAPTURE(name);
    CHECK(work.Has(name));
  }
  CHECK_FALSE(work.Has("device/revoked.crl"));
  using fs::perms;
  for (const char* const name : {"ca/ca.key", "server/server.key", "device/client.key"}) {
    CAPTURE(name);
    CHECK(fs::status(work.path(name)).permissions() == (perms::owner_read | perms::owner_write));
  }
  CHECK(fs::status(work.path("ca")).permissions() == perms::owner_all);
  CHECK(fs::status(work.path("device")).permissions() == perms::owner_all);
}

TEST_CASE("fl-pki: a wrong call has status 2 and one line that names what was wrong") {
  Workshop work;
  REQUIRE(work.Run("init ca") == 0);
  CHECK(work.Run("") == 2);
  CHECK(work.Run("burn ca") == 2);
  CHECK(work.Run("issue ca x --role king") == 2);
  CHECK(work.OutputHas("\"king\""));
  CHECK(work.Run("issue ca 'a b'") == 2);
  CHECK(work.OutputHas("\"a b\""));
  CHECK(work.Run("issue ca main --role server") == 2);
  CHECK(work.OutputHas("host: expected at least one"));
  CHECK(work.Run("issue ca x --days 0") == 2);
  CHECK(work.Run("init ca") == 2);
  CHECK(work.OutputHas("ca: expected no authority, found one"));
}

TEST_CASE("fl-pki: what is not there or not readable has status 1") {
  Workshop work;
  CHECK(work.Run("issue ca device-7") == 1);
  CHECK(work.OutputHas("make one with fl-pki init"));
  REQUIRE(work.Run("init ca") == 0);
  CHECK(work.Run("revoke ca nobody") == 1);
  CHECK(work.Run("sign ca absent.csr") == 1);
  CHECK(work.Run("sign ca output") == 1);
  CHECK(work.OutputHas("expected a signing request in PEM"));
  fs::permissions(work.path("ca/ca.key"), fs::perms::owner_read | fs::perms::group_read);
  CHECK(work.Run("issue ca device-7") == 1);
  CHECK(work.OutputHas("chmod 600"));
}

TEST_CASE("fl-pki: an issued folder is never overwritten") {
  Workshop work;
  REQUIRE(work.Run("init ca") == 0);
  REQUIRE(work.Run("issue ca device-7 --out device") == 0);
  const Bytes key = Get(ReadFile(work.path("device/client.key"), 1 << 20));
  CHECK(work.Run("issue ca device-8 --out device") == 2);
  CHECK(Get(ReadFile(work.path("device/client.key"), 1 << 20)) == key);
}

TEST_CASE("fl-pki: a certificate does not outlive its authority") {
  Workshop work;
  REQUIRE(work.Run("init ca --days 10") == 0);
  REQUIRE(work.Run("issue ca device-7 --out device --days 365") == 0);
  const Bytes pem = Get(ReadFile(work.path("device/client.crt"), 1 << 20));
  const auto info = Get(crypto::ReadCertificate(AsText(pem)));
  CHECK(info.not_after - info.not_before < std::chrono::hours(24 * 11));
}

TEST_CASE("fl-pki: help shows an example and version the version") {
  Workshop work;
  CHECK(work.Run("--help") == 0);
  CHECK(work.OutputHas("fl-pki issue ca camera-17"));
  CHECK(work.Run("--version") == 0);
  CHECK(work.OutputHas("fl-pki " FL_VERSION));
}

TEST_CASE("LoadTlsFiles: the wrong side and missing files and open keys are told apart") {
  Workshop work;
  REQUIRE(work.Run("init ca") == 0);
  REQUIRE(work.Run("init other") == 0);
  REQUIRE(work.Run("issue ca main --role server --host fl.example --out server") == 0);
  REQUIRE(work.Run("issue ca device-7 --out device") == 0);
  const auto load = [&](const char* folder, TlsSide side) {
    return CodeOf(net::LoadTlsFiles(work.path(folder), side));
  };
  CHECK(load("device", TlsSide::kClient) == ErrorCode::kOk);
  CHECK(load("device", TlsSide::kServer) == ErrorCode::kNotFound);
  CHECK(load("nowhere", TlsSide::kClient) == ErrorCode::kNotFound);
  fs::copy_file(work.path("other/revoked.crl"), work.path("server/revoked.crl"),
                fs::copy_options::overwrite_existing);
  CHECK(load("server", TlsSide::kServer) == ErrorCode::kUnauthorized);
  fs::copy_file(work.path("server/server.crt"), work.path("device/client.crt"),
                fs::copy_options::overwrite_existing);
  CHECK(load("device", TlsSide::kClient) == ErrorCode::kUnauthorized);
  fs::permissions(work.path("device/client.key"), fs::perms::owner_read | fs::perms::others_read);
  CHECK(load("device", TlsSide::kClient) == ErrorCode::kUnauthorized);
}
