#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "fl/common/base/file.h"
#include "fl/common/crypto/certificate_authority.h"

namespace fl::pki {

// The folder of a certificate authority:
//   ca.crt  ca.key (0600)  revoked.crl  issued/NAME-SERIAL.crt, one for each certificate that it
//   signed
// It is locked while the object lives (kLocked). Whoever reads ca.key can admit anybody to the
// fleet: keep the folder off the server.
class AuthorityFolder {
 public:
  // kInvalidArgument when there is an authority already.
  static Result<AuthorityFolder> Create(const std::filesystem::path& path,
                                        crypto::Validity validity);
  // kNotFound when there is none; kUnauthorized when others can read its key.
  static Result<AuthorityFolder> Open(const std::filesystem::path& path);

  const std::string& certificate() const { return authority_.certificate(); }
  // The current revocation list, PEM.
  const std::string& revoked() const { return revoked_; }

  // Certificates in PEM, recorded under issued/ before they are handed out. One cannot outlive the
  // authority: a later end is brought forward. Errors as in CertificateAuthority.
  Result<std::string> Issue(crypto::CertificateRequest request, const crypto::PrivateKey& key);
  Result<std::string> Sign(crypto::CertificateRequest request, std::string_view signing_request);

  // Puts all certificates of that name on the revocation list, as of now, and gives their number;
  // those that are on it already don't count. kNotFound when none was issued.
  Result<std::size_t> Revoke(const std::string& name, TimePoint now);

 private:
  AuthorityFolder(std::filesystem::path path, FolderLock lock,
                  crypto::CertificateAuthority authority, TimePoint not_after);
  crypto::CertificateRequest Limited(crypto::CertificateRequest request) const;
  Result<std::string> Record(std::string certificate) const;
  Result<> WriteRevoked(const std::vector<std::string>& serials, TimePoint now);

  std::filesystem::path path_;
  FolderLock lock_;
  crypto::CertificateAuthority authority_;
  TimePoint not_after_;
  std::string revoked_;
};

}  // namespace fl::pki
