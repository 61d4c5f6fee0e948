#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "fl/common/base/result.h"
#include "fl/common/crypto/secret.h"

namespace fl::net {

// What one end of a TLS connection needs, as the PEM text of its files.
struct TlsFiles {
  std::string authority;    // The CA that signs both sides.
  std::string certificate;  // This end's chain, leaf first.
  crypto::Secret key;       // This end's private key.
  std::string revoked;      // Servers: the CA's revocation list; empty for none.
};

// Which end of the connection a folder is for; admins and devices are both clients.
enum class TlsSide : std::uint8_t { kClient, kServer };

// Reads a folder as fl-pki writes it: ca.crt, client.crt, client.key for a client; ca.crt,
// server.crt, server.key and, where there is one, revoked.crl for a server. kNotFound names the
// missing file; kUnauthorized when others than its owner can read the key, when the certificate is
// the other side's, or when the CA did not sign the revocation list; kMalformed when a file does
// not hold what its name says. That key and certificate belong together is checked by HttpServer
// and HttpClient.
Result<TlsFiles> LoadTlsFiles(const std::filesystem::path& folder, TlsSide side);

// The name of a server's revocation list in its folder, and such a file's text: kNotFound,
// kLimitExceeded, kIo. Whether it is a list that the CA signed is not looked at.
inline constexpr const char* kRevokedName = "revoked.crl";
Result<std::string> ReadRevocations(const std::filesystem::path& file);

}  // namespace fl::net
