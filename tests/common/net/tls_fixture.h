#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "fl/common/crypto/certificate_authority.h"
#include "fl/common/net/http.h"
#include "fl/tests/support/result.h"

namespace fl::testing {

inline TimePoint NowForTests() {
  return SystemClock().Now();
}

inline crypto::Validity ValidNow() {
  const TimePoint now = NowForTests();
  return {now - std::chrono::hours(1), now + std::chrono::hours(24)};
}

// An authority and the TLS files of those whom it certifies.
class TestPki {
 public:
  TestPki() : authority_(crypto::CertificateAuthority::Create(ValidNow())) {}

  const crypto::CertificateAuthority& authority() const { return authority_; }

  net::TlsFiles Issue(const std::string& name, crypto::CertificateRole role,
                      crypto::Validity validity = ValidNow(),
                      std::vector<std::string> hosts = {}) const {
    const crypto::PrivateKey key = crypto::PrivateKey::Generate();
    net::TlsFiles files;
    files.authority = authority_.certificate();
    files.certificate = Get(authority_.Issue(
        {.name = name, .role = role, .hosts = std::move(hosts), .validity = validity}, key));
    files.key = key.ToPem();
    return files;
  }
  net::TlsFiles Server(std::vector<std::string> hosts = {"127.0.0.1", "localhost"}) const {
    return Issue("server", crypto::CertificateRole::kServer, ValidNow(), std::move(hosts));
  }
  net::TlsFiles Client(const std::string& name = "device-7") const {
    return Issue(name, crypto::CertificateRole::kClient);
  }
  // The signed list of the certificates of these files.
  std::string Revoke(const std::vector<std::string>& certificates) const {
    std::vector<std::string> serials;
    serials.reserve(certificates.size());
    for (const std::string& pem : certificates) {
      serials.push_back(Get(crypto::ReadCertificate(pem)).serial);
    }
    return Get(authority_.Revoke(serials, ValidNow()));
  }

 private:
  crypto::CertificateAuthority authority_;
};

}  // namespace fl::testing
