#include "fl/common/net/tls_files.h"

#include <utility>

#include "fl/common/base/file.h"
#include "fl/common/crypto/certificate.h"
#include "fl/common/crypto/key_file.h"
#include "fl/common/crypto/revocation_list.h"

namespace fl::net {
namespace {

constexpr std::uint64_t kPemBytesMax = 64 << 10;
constexpr std::uint64_t kRevokedBytesMax = 64 << 20;

Result<std::string> ReadText(const std::filesystem::path& path, std::uint64_t bytes_max) {
  FL_TRY(const Bytes bytes, ReadFile(path, bytes_max));
  return std::string(AsText(bytes));
}

// A client that is handed a server's folder, or the reverse, learns it here and not from the other
// end.
Result<> CheckSide(const std::filesystem::path& path, const std::string& certificate,
                   TlsSide side) {
  const Result<crypto::CertificateInfo> info = crypto::ReadCertificate(certificate);
  if (!info) return info.error().At(path.string());
  const bool is_server = info->role == crypto::CertificateRole::kServer;
  if (is_server == (side == TlsSide::kServer)) return Ok{};
  return Error{ErrorCode::kUnauthorized, path.string() + ": expected a " +
                                             (is_server ? "client's" : "server's") +
                                             " certificate, found the role " +
                                             std::string(crypto::CertificateRoleName(info->role))};
}

}  // namespace

Result<TlsFiles> LoadTlsFiles(const std::filesystem::path& folder, TlsSide side) {
  const std::string name = side == TlsSide::kServer ? "server" : "client";
  TlsFiles files;
  FL_TRY(files.authority, ReadText(folder / "ca.crt", kPemBytesMax));
  FL_TRY(files.certificate, ReadText(folder / (name + ".crt"), kPemBytesMax));
  FL_TRY(files.key, crypto::ReadKeyFile(folder / (name + ".key")));
  FL_TRY_OK(CheckSide(folder / (name + ".crt"), files.certificate, side));
  const std::filesystem::path revoked = folder / kRevokedName;
  if (side == TlsSide::kServer && std::filesystem::exists(revoked)) {
    FL_TRY(files.revoked, ReadRevocations(revoked));
    const auto list = crypto::RevocationList::FromPem(files.revoked, files.authority);
    if (!list) return list.error().At(revoked.string());
  }
  return files;
}

Result<std::string> ReadRevocations(const std::filesystem::path& file) {
  return ReadText(file, kRevokedBytesMax);
}

}  // namespace fl::net
