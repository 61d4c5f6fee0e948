#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "fl/common/base/result.h"
#include "fl/common/crypto/secret.h"

namespace fl::crypto {

// A key pair on the curve P-256. It moves and does not copy. Thread safety: distinct objects safe.
class PrivateKey {
 public:
  struct State;  // OpenSSL's key; defined in internal/openssl.h.

  static PrivateKey Generate();
  // PKCS #8 in PEM, not encrypted. kMalformed when it is no key, kUnsupported when it is one of
  // another kind.
  static Result<PrivateKey> FromPem(std::string_view pem);

  explicit PrivateKey(std::unique_ptr<State> state);
  PrivateKey(PrivateKey&& other) noexcept;
  PrivateKey& operator=(PrivateKey&& other) noexcept;
  ~PrivateKey();

  Secret ToPem() const;
  const State& state() const { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

// A certificate signing request (PKCS #10, PEM) for the key, under the name (see
// CheckCertificateName): what a device sends to the CA, so that its key never leaves it.
Result<std::string> MakeSigningRequest(const PrivateKey& key, std::string_view name);

}  // namespace fl::crypto
