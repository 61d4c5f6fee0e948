#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fl/common/base/bytes.h"
#include "fl/common/base/clock.h"
#include "fl/common/base/result.h"

// What our certificates say. A client's and an admin's is for TLS client authentication, a server's
// for TLS server authentication, each by its extended key usage, which must be there and is
// critical. The name stands in a URI:
//   spiffe://fl/fleet/NAME    spiffe://fl/admin/NAME    spiffe://fl/server/NAME
namespace fl::crypto {

enum class CertificateRole : std::uint8_t { kClient, kAdmin, kServer };

// "client", "admin", "server".
std::string_view CertificateRoleName(CertificateRole role);
// kInvalidArgument for any other text.
Result<CertificateRole> ParseCertificateRole(std::string_view text);

// kInvalidArgument unless the name has 1 to 64 of the characters a-z A-Z 0-9 . _ - and begins with
// a letter or a digit: it becomes the last segment of a path, the name of a file, and a word in
// logs.
Result<> CheckCertificateName(std::string_view name);

std::string CertificateUri(std::string_view name, CertificateRole role);

struct CertificateInfo {
  std::string name;
  CertificateRole role = CertificateRole::kClient;
  std::string serial;              // Lower-case hexadecimal, as in a revocation list.
  std::vector<std::string> hosts;  // A server's DNS names and IP addresses.
  TimePoint not_before;
  TimePoint not_after;

  std::string uri() const { return CertificateUri(name, role); }
};

// Reads a certificate; it does not verify its signature. kMalformed when it is none; kUnauthorized
// when it has not exactly one of our URIs, or when its extended key usage is not its role's.
Result<CertificateInfo> ReadCertificate(std::string_view pem);
Result<CertificateInfo> ReadCertificateDer(ByteSpan der);

}  // namespace fl::crypto
