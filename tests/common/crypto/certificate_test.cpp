#include "fl/common/crypto/certificate.h"

#include <chrono>

#include <doctest/doctest.h>

#include "fl/common/crypto/certificate_authority.h"
#include "fl/common/crypto/revocation_list.h"
#include "fl/tests/support/result.h"

namespace {

using namespace fl;           // NOLINT(google-build-using-namespace): a test.
using namespace fl::crypto;   // NOLINT(google-build-using-namespace): a test.
using namespace fl::testing;  // NOLINT(google-build-using-namespace): a test.

const TimePoint kStart = TimePoint(std::chrono::hours(24 * 365 * 50));
const Validity kValidity = {kStart, kStart + std::chrono::hours(24)};

CertificateRequest Device(std::string name) {
  return {.name = std::move(name),
          .role = CertificateRole::kClient,
          .hosts = {},
          .validity = kValidity};
}

// An Ed25519 key, as openssl genpkey -algorithm ed25519 writes it.
constexpr std::string_view kOtherKey = R"(-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF
-----END PRIVATE KEY-----
)";

}  // namespace

TEST_CASE("CertificateAuthority: a certificate says its name and role and serial and validity") {
  const auto authority = CertificateAuthority::Create(kValidity);
  const PrivateKey key = PrivateKey::Generate();
  const auto info = Get(ReadCertificate(Get(authority.Issue(Device("device-7"), key))));
  CHECK(info.name == "device-7");
  CHECK(info.role == CertificateRole::kClient);
  CHECK(info.uri() == "spiffe://fl/fleet/device-7");
  CHECK(info.hosts.empty());
  CHECK(info.not_before == kValidity.not_before);
  CHECK(info.not_after == kValidity.not_after);
  const auto again = Get(ReadCertificate(Get(authority.Issue(Device("device-7"), key))));
  CHECK(again.serial != info.serial);
}

TEST_CASE("CertificateAuthority: a server has hosts and an admin has a URI of its own") {
  const auto authority = CertificateAuthority::Create(kValidity);
  const PrivateKey key = PrivateKey::Generate();
  CertificateRequest request = Device("main");
  request.role = CertificateRole::kServer;
  request.hosts = {"fl.example", "10.0.0.1", "::1"};
  const auto server = Get(ReadCertificate(Get(authority.Issue(request, key))));
  CHECK(server.uri() == "spiffe://fl/server/main");
  CHECK(server.hosts == request.hosts);
  request = Device("ada");
  request.role = CertificateRole::kAdmin;
  CHECK(Get(ReadCertificate(Get(authority.Issue(request, key)))).uri() == "spiffe://fl/admin/ada");
}

TEST_CASE("CertificateAuthority: bad names and hosts and times are kInvalidArgument") {
  const auto authority = CertificateAuthority::Create(kValidity);
  const PrivateKey key = PrivateKey::Generate();
  const auto code = [&](const CertificateRequest& request) {
    return CodeOf(authority.Issue(request, key));
  };
  CHECK(code(Device("")) == ErrorCode::kInvalidArgument);
  CHECK(code(Device("a/b")) == ErrorCode::kInvalidArgument);
  CHECK(code(Device("a,DNS:b")) == ErrorCode::kInvalidArgument);
  CHECK(code(Device("..")) == ErrorCode::kInvalidArgument);
  CHECK(code(Device(std::string(64, 'a'))) == ErrorCode::kOk);
  CHECK(code(Device(std::string(65, 'a'))) == ErrorCode::kInvalidArgument);
  CertificateRequest request = Device("main");
  request.hosts = {"fl.example"};
  CHECK(code(request) == ErrorCode::kInvalidArgument);
  request.role = CertificateRole::kServer;
  request.hosts = {};
  CHECK(code(request) == ErrorCode::kInvalidArgument);
  request.hosts = {"fl.example,IP:1.2.3.4"};
  CHECK(code(request) == ErrorCode::kInvalidArgument);
  request.hosts = {"fl.example"};
  request.validity = {kStart, kStart};
  CHECK(code(request) == ErrorCode::kInvalidArgument);
}

TEST_CASE("CertificateAuthority: its PEM files make it again and must belong together") {
  const auto authority = CertificateAuthority::Create(kValidity);
  const Secret key = authority.KeyToPem();
  const auto again = Get(CertificateAuthority::FromPem(authority.certificate(), key.text()));
  CHECK(again.certificate() == authority.certificate());
  CHECK(again.not_after() == kValidity.not_after);
  const Secret other = PrivateKey::Generate().ToPem();
  const std::string leaf = Get(authority.Issue(Device("a"), PrivateKey::Generate()));
  CHECK(CodeOf(CertificateAuthority::FromPem(authority.certificate(), other.text())) ==
        ErrorCode::kInvalidArgument);
  CHECK(CodeOf(CertificateAuthority::FromPem(leaf, key.text())) == ErrorCode::kMalformed);
  CHECK(CodeOf(CertificateAuthority::FromPem("x", key.text())) == ErrorCode::kMalformed);
}

TEST_CASE("PrivateKey: PEM round trip and other kinds of key are refused") {
  const PrivateKey key = PrivateKey::Generate();
  const Secret pem = key.ToPem();
  CHECK(Get(PrivateKey::FromPem(pem.text())).ToPem().text() == pem.text());
  CHECK(CodeOf(PrivateKey::FromPem("nonsense")) == ErrorCode::kMalformed);
  CHECK(CodeOf(PrivateKey::FromPem(kOtherKey)) == ErrorCode::kUnsupported);
}

TEST_CASE("CertificateAuthority: a signing request gives a certificate under its own name alone") {
  const auto authority = CertificateAuthority::Create(kValidity);
  const std::string request = Get(MakeSigningRequest(PrivateKey::Generate(), "device-8"));
  CHECK(Get(SigningRequestName(request)) == "device-8");
  const auto info = Get(ReadCertificate(Get(authority.Sign(Device("device-8"), request))));
  CHECK(info.name == "device-8");
  CHECK(CodeOf(authority.Sign(Device("device-9"), request)) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(authority.Sign(Device("device-8"), "nonsense")) == ErrorCode::kMalformed);
  CHECK(CodeOf(MakeSigningRequest(PrivateKey::Generate(), "a b")) == ErrorCode::kInvalidArgument);
}

TEST_CASE("CertificateAuthority: a signing request whose signature is damaged is refused") {
  const auto authority = CertificateAuthority::Create(kValidity);
  const std::string request = Get(MakeSigningRequest(PrivateKey::Generate(), "device-8"));
  // The signature is at the end: another letter of the last full line of base64.
  std::string damaged = request;
  const std::size_t at = damaged.rfind("\n-----END") - 20;
  damaged[at] = damaged[at] == 'A' ? 'B' : 'A';
  CHECK(CodeOf(authority.Sign(Device("device-8"), damaged)) != ErrorCode::kOk);
}

TEST_CASE("RevocationList: it holds what was revoked and nothing else") {
  const auto authority = CertificateAuthority::Create(kValidity);
  const PrivateKey key = PrivateKey::Generate();
  std::vector<std::string> serials;
  for (const char* const name : {"a", "b", "c"}) {
    serials.push_back(Get(ReadCertificate(Get(authority.Issue(Device(name), key)))).serial);
  }
  const std::string spared = serials.back();
  serials.pop_back();
  const std::string pem = Get(authority.Revoke(serials, kValidity));
  const auto list = Get(RevocationList::FromPem(pem, authority.certificate()));
  CHECK(list.serials().size() == 2);
  for (const std::string& serial : serials) CHECK(list.Contains(serial));
  CHECK_FALSE(list.Contains(spared));
  CHECK_FALSE(list.Contains(""));
  CHECK(CodeOf(authority.Revoke(std::vector<std::string>{"xyz"}, kValidity)) ==
        ErrorCode::kMalformed);
}

TEST_CASE("RevocationList: a list of another authority and nonsense are refused") {
  const auto authority = CertificateAuthority::Create(kValidity);
  const auto foreign = CertificateAuthority::Create(kValidity);
  const std::string pem = Get(foreign.Revoke({}, kValidity));
  CHECK(CodeOf(RevocationList::FromPem(pem, authority.certificate())) == ErrorCode::kUnauthorized);
  CHECK(CodeOf(RevocationList::FromPem(pem, authority.certificate() + foreign.certificate())) ==
        ErrorCode::kOk);
  CHECK(CodeOf(RevocationList::FromPem("x", authority.certificate())) == ErrorCode::kMalformed);
}

TEST_CASE("ReadCertificate: what is none is kMalformed and one without our URI is kUnauthorized") {
  const auto authority = CertificateAuthority::Create(kValidity);
  CHECK(CodeOf(ReadCertificate("")) == ErrorCode::kMalformed);
  CHECK(CodeOf(ReadCertificate({})) == ErrorCode::kMalformed);
  CHECK(CodeOf(ReadCertificateDer({})) == ErrorCode::kMalformed);
  CHECK(CodeOf(SigningRequestName({})) == ErrorCode::kMalformed);
  CHECK(CodeOf(PrivateKey::FromPem({})) == ErrorCode::kMalformed);
  CHECK(CodeOf(ReadCertificateDer(AsBytes("nonsense"))) == ErrorCode::kMalformed);
  CHECK(CodeOf(ReadCertificate(authority.certificate())) == ErrorCode::kUnauthorized);
}

TEST_CASE("ParseCertificateRole: the three roles and nothing else") {
  for (const CertificateRole role :
       {CertificateRole::kClient, CertificateRole::kAdmin, CertificateRole::kServer}) {
    CHECK(Get(ParseCertificateRole(CertificateRoleName(role))) == role);
  }
  CHECK(CodeOf(ParseCertificateRole("king")) == ErrorCode::kInvalidArgument);
}
