#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <openssl/ssl.h>

#include "fl/common/base/guarded.h"
#include "fl/common/crypto/certificate.h"
#include "fl/common/crypto/revocation_list.h"
#include "fl/common/net/tls_files.h"

// The TLS settings of both ends, on OpenSSL's types: TLS 1.3 only, certificates required, no
// tickets (each connection verifies afresh, so that nothing is resumed past a revocation).
namespace fl::net::internal {

struct FreeSslContext {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using SslContextPtr = std::unique_ptr<SSL_CTX, FreeSslContext>;

// What a handshake looks up; it may be replaced while the server runs.
using SharedRevocations = Guarded<std::shared_ptr<const crypto::RevocationList>>;

// kMalformed, kUnsupported or kInvalidArgument when the files do not make a TLS end. `revocations`
// must outlive the context.
Result<SslContextPtr> MakeServerContext(const TlsFiles& files, SharedRevocations& revocations);
// The server must prove that it is `host`, a DNS name or an IP address.
Result<SslContextPtr> MakeClientContext(const TlsFiles& files, const std::string& host);

// Sends the name along in the clear, for what balances load (RFC 6066, 3); not where `host` is an
// address.
void SendServerName(SSL* connection, const std::string& host);

// "10.0.0.7", "::1".
bool IsAddress(const std::string& host);

// The verified certificate of the other end; kUnauthorized when there is none.
Result<crypto::CertificateInfo> PeerCertificate(const SSL* connection);

// What an error number of OpenSSL (the value of an error code in Asio's SSL category) means for a
// caller: kUnauthorized when one side refused the other's certificate, else kUnavailable. The
// message says which, as far as `connection` knows.
Error DescribeTlsFailure(const SSL* connection, unsigned long number);

}  // namespace fl::net::internal
