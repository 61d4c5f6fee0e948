#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fl/common/base/clock.h"
#include "fl/common/base/result.h"
#include "fl/common/crypto/certificate.h"
#include "fl/common/crypto/private_key.h"

namespace fl::crypto {

struct Validity {
  TimePoint not_before;
  TimePoint not_after;
};

// What a certificate shall say.
struct CertificateRequest {
  std::string name;
  CertificateRole role = CertificateRole::kClient;
  std::vector<std::string>
      hosts;  // DNS names and IP addresses; for a server at least one, else none.
  Validity validity;
};

// Signs certificates and revocation lists with its own key. Serial numbers are 127 random bits.
// Thread safety: distinct objects safe.
class CertificateAuthority {
 public:
  // A new key and its self-signed certificate.
  static CertificateAuthority Create(Validity validity);
  // kMalformed or kUnsupported when one of them is not what it should be, kInvalidArgument when
  // they don't belong together.
  static Result<CertificateAuthority> FromPem(std::string_view certificate, std::string_view key);
  CertificateAuthority(CertificateAuthority&& other) noexcept;
  CertificateAuthority& operator=(CertificateAuthority&& other) noexcept;
  ~CertificateAuthority();

  const std::string& certificate() const { return certificate_; }
  TimePoint not_after() const;
  Secret KeyToPem() const { return key_.ToPem(); }

  // A certificate (PEM) for a key that we hold. kInvalidArgument for a bad name or host; a server
  // needs a host.
  Result<std::string> Issue(const CertificateRequest& request, const PrivateKey& key) const;

  // A certificate for the key of a signing request, which must prove that its sender has the key
  // (kUnauthorized) and hold one on P-256 (kUnsupported). Of the request only key and name count;
  // the name must be the expected one (kInvalidArgument).
  Result<std::string> Sign(const CertificateRequest& request,
                           std::string_view signing_request) const;

  // The signed list (CRL, PEM) of these serial numbers. kMalformed when one is not hexadecimal.
  Result<std::string> Revoke(std::span<const std::string> serials, Validity validity) const;

 private:
  struct State;
  CertificateAuthority(std::unique_ptr<State> state, std::string certificate, PrivateKey key);

  std::unique_ptr<State> state_;
  std::string certificate_;
  PrivateKey key_;
};

// The name that a signing request asks for. kMalformed when it is none, kInvalidArgument for a bad
// name.
Result<std::string> SigningRequestName(std::string_view signing_request);

}  // namespace fl::crypto
