#include "fl/server/pki/authority_folder.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "fl/common/crypto/key_file.h"
#include "fl/common/crypto/revocation_list.h"

namespace fl::pki {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kFileBytesMax = 64 << 20;
// A list is replaced by the next one, not by the calendar.
constexpr auto kRevokedLifetime = std::chrono::hours(24 * 3650);

Result<std::string> ReadText(const fs::path& path) {
  FL_TRY(const Bytes bytes, ReadFile(path, kFileBytesMax));
  return std::string(AsText(bytes));
}

}  // namespace

AuthorityFolder::AuthorityFolder(fs::path path, FolderLock lock,
                                 crypto::CertificateAuthority authority, TimePoint not_after)
    : path_(std::move(path)),
      lock_(std::move(lock)),
      authority_(std::move(authority)),
      not_after_(not_after) {}

Result<AuthorityFolder> AuthorityFolder::Create(const fs::path& path, crypto::Validity validity) {
  FL_TRY_OK(MakePrivateFolder(path / "issued"));
  fs::permissions(path, fs::perms::owner_all);
  FL_TRY(FolderLock lock, FolderLock::Acquire(path));
  if (fs::exists(path / "ca.crt") || fs::exists(path / "ca.key")) {
    return Error{ErrorCode::kInvalidArgument,
                 path.string() + ": expected no authority, found one; choose another folder"};
  }
  AuthorityFolder folder(path, std::move(lock), crypto::CertificateAuthority::Create(validity),
                         validity.not_after);
  FL_TRY_OK(crypto::WriteKeyFile(path / "ca.key", folder.authority_.KeyToPem()));
  FL_TRY_OK(folder.WriteRevoked({}, validity.not_before));
  FL_TRY_OK(WriteFileAtomically(path / "ca.crt", AsBytes(folder.certificate())));
  return folder;
}

Result<AuthorityFolder> AuthorityFolder::Open(const fs::path& path) {
  if (!fs::exists(path / "ca.crt")) {
    return Error{ErrorCode::kNotFound,
                 path.string() + ": expected an authority, found none; make one with fl-pki init"};
  }
  FL_TRY(FolderLock lock, FolderLock::Acquire(path));
  FL_TRY(const std::string certificate, ReadText(path / "ca.crt"));
  FL_TRY(const crypto::Secret key, crypto::ReadKeyFile(path / "ca.key"));
  auto authority = crypto::CertificateAuthority::FromPem(certificate, key.text());
  if (!authority) return authority.error().At(path.string());
  const TimePoint not_after = authority->not_after();
  AuthorityFolder folder(path, std::move(lock), std::move(*authority), not_after);
  FL_TRY(folder.revoked_, ReadText(path / "revoked.crl"));
  return folder;
}

crypto::CertificateRequest AuthorityFolder::Limited(crypto::CertificateRequest request) const {
  request.validity.not_after = std::min(request.validity.not_after, not_after_);
  return request;
}

Result<std::string> AuthorityFolder::Record(std::string certificate) const {
  FL_TRY(const crypto::CertificateInfo info, crypto::ReadCertificate(certificate));
  const fs::path path = path_ / "issued" / (info.name + "-" + info.serial + ".crt");
  FL_TRY_OK(WriteFileAtomically(path, AsBytes(certificate)));
  return certificate;
}

Result<std::string> AuthorityFolder::Issue(crypto::CertificateRequest request,
                                           const crypto::PrivateKey& key) {
  FL_TRY(std::string certificate, authority_.Issue(Limited(std::move(request)), key));
  return Record(std::move(certificate));
}

Result<std::string> AuthorityFolder::Sign(crypto::CertificateRequest request,
                                          std::string_view signing_request) {
  FL_TRY(std::string certificate, authority_.Sign(Limited(std::move(request)), signing_request));
  return Record(std::move(certificate));
}

Result<std::size_t> AuthorityFolder::Revoke(const std::string& name, TimePoint now) {
  FL_TRY_OK(crypto::CheckCertificateName(name));
  FL_TRY(const crypto::RevocationList list,
         crypto::RevocationList::FromPem(revoked_, certificate()));
  std::vector<std::string> serials = list.serials();
  bool is_known = false;
  for (const auto& entry : fs::directory_iterator(path_ / "issued")) {
    if (entry.path().extension() != ".crt") continue;
    FL_TRY(const std::string pem, ReadText(entry.path()));
    const auto info = crypto::ReadCertificate(pem);
    if (!info) return info.error().At(entry.path().string());
    if (info->name != name) continue;
    is_known = true;
    if (!list.Contains(info->serial)) serials.push_back(info->serial);
  }
  if (!is_known) {
    return Error{ErrorCode::kNotFound, path_.string() + ": expected a certificate of " + name +
                                           " under issued, found none"};
  }
  FL_TRY_OK(WriteRevoked(serials, now));
  return serials.size() - list.serials().size();
}

Result<> AuthorityFolder::WriteRevoked(const std::vector<std::string>& serials, TimePoint now) {
  FL_TRY(std::string revoked, authority_.Revoke(serials, {now, now + kRevokedLifetime}));
  FL_TRY_OK(WriteFileAtomically(path_ / "revoked.crl", AsBytes(revoked)));
  revoked_ = std::move(revoked);
  return Ok{};
}

}  // namespace fl::pki
