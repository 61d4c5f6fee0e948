#include "fl/common/crypto/certificate.h"

#include <algorithm>
#include <array>
#include <optional>

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "fl/common/crypto/internal/openssl.h"

namespace fl::crypto {
namespace {

using internal::FromAsn1;
using internal::NamesPtr;
using internal::ReadOnly;
using internal::ReadX509;
using internal::SerialText;
using internal::UsagePtr;
using internal::X509Ptr;

constexpr std::size_t kNameLettersMax = 64;
constexpr std::string_view kUriPrefix = "spiffe://fl/";

struct RoleWords {
  CertificateRole role;
  std::string_view name;
  std::string_view segment;
  int usage;  // OpenSSL's number of the extended key usage.
};
constexpr std::array kRoles = {
    RoleWords{CertificateRole::kClient, "client", "fleet/", NID_client_auth},
    RoleWords{CertificateRole::kAdmin, "admin", "admin/", NID_client_auth},
    RoleWords{CertificateRole::kServer, "server", "server/", NID_server_auth},
};

const RoleWords& WordsOf(CertificateRole role) {
  return *std::ranges::find(kRoles, role, &RoleWords::role);
}

bool IsLetterOrDigit(char letter) {
  return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
         (letter >= '0' && letter <= '9');
}

bool IsNameLetter(char letter) {
  return IsLetterOrDigit(letter) || letter == '.' || letter == '_' || letter == '-';
}

std::string_view Text(const ASN1_STRING* text) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
          static_cast<std::size_t>(ASN1_STRING_length(text))};
}

std::string AddressText(const ASN1_OCTET_STRING* address) {
  char text[INET6_ADDRSTRLEN] = "";
  const int family = ASN1_STRING_length(address) == 4 ? AF_INET : AF_INET6;
  if (family == AF_INET6 && ASN1_STRING_length(address) != 16) return "malformed address";
  ::inet_ntop(family, ASN1_STRING_get0_data(address), text, sizeof(text));
  return text;
}

Error NotOurs(std::string what) {
  return {ErrorCode::kUnauthorized, "certificate: " + std::move(what)};
}

// Finds name and role in "spiffe://fl/fleet/NAME".
bool ParseUri(std::string_view uri, CertificateInfo& info) {
  if (!uri.starts_with(kUriPrefix)) return false;
  uri.remove_prefix(kUriPrefix.size());
  for (const RoleWords& words : kRoles) {
    if (!uri.starts_with(words.segment)) continue;
    info.role = words.role;
    info.name = uri.substr(words.segment.size());
    return CheckCertificateName(info.name).has_value();
  }
  return false;
}

Result<> ReadNames(const X509* certificate, CertificateInfo& info) {
  const NamesPtr names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  int uris = 0;
  const int count = names == nullptr ? 0 : sk_GENERAL_NAME_num(names.get());
  for (int i = 0; i < count; ++i) {
    const GENERAL_NAME* const name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_DNS) info.hosts.emplace_back(Text(name->d.dNSName));
    if (name->type == GEN_IPADD) info.hosts.push_back(AddressText(name->d.iPAddress));
    if (name->type != GEN_URI) continue;
    uris += 1;
    if (!ParseUri(Text(name->d.uniformResourceIdentifier), info)) {
      return NotOurs("expected a URI like spiffe://fl/fleet/NAME, found another");
    }
  }
  if (uris == 1) return Ok{};
  return NotOurs("expected one URI like spiffe://fl/fleet/NAME, found " + std::to_string(uris));
}

Result<> CheckUsage(const X509* certificate, CertificateRole role) {
  const UsagePtr usages(static_cast<EXTENDED_KEY_USAGE*>(
      X509_get_ext_d2i(certificate, NID_ext_key_usage, nullptr, nullptr)));
  const int wanted = WordsOf(role).usage;
  const int count = usages == nullptr ? 0 : sk_ASN1_OBJECT_num(usages.get());
  if (count == 1 && OBJ_obj2nid(sk_ASN1_OBJECT_value(usages.get(), 0)) == wanted) return Ok{};
  return NotOurs(std::string("expected the extended key usage ") + OBJ_nid2sn(wanted) +
                 " alone, found another set");
}

Result<CertificateInfo> Read(const X509* certificate) {
  CertificateInfo info;
  FL_TRY_OK(ReadNames(certificate, info));
  FL_TRY_OK(CheckUsage(certificate, info.role));
  info.serial = SerialText(X509_get0_serialNumber(certificate));
  info.not_before = FromAsn1(X509_get0_notBefore(certificate));
  info.not_after = FromAsn1(X509_get0_notAfter(certificate));
  return info;
}

}  // namespace

std::string_view CertificateRoleName(CertificateRole role) {
  return WordsOf(role).name;
}

Result<CertificateRole> ParseCertificateRole(std::string_view text) {
  const auto* const found = std::ranges::find(kRoles, text, &RoleWords::name);
  if (found != kRoles.end()) return found->role;
  return Error{ErrorCode::kInvalidArgument,
               "role: expected client, admin or server, found \"" + std::string(text) + "\""};
}

Result<> CheckCertificateName(std::string_view name) {
  if (!name.empty() && name.size() <= kNameLettersMax && IsLetterOrDigit(name.front()) &&
      std::ranges::all_of(name, IsNameLetter)) {
    return Ok{};
  }
  return Error{ErrorCode::kInvalidArgument,
               "name: expected 1 to 64 of a-z A-Z 0-9 . _ - with a letter or digit first, found " +
                   (name.size() <= kNameLettersMax ? "\"" + std::string(name) + "\""
                                                   : std::to_string(name.size()) + " letters")};
}

std::string CertificateUri(std::string_view name, CertificateRole role) {
  return std::string(kUriPrefix).append(WordsOf(role).segment).append(name);
}

Result<CertificateInfo> ReadCertificate(std::string_view pem) {
  const X509Ptr certificate = ReadX509(ReadOnly(pem).get());
  if (certificate != nullptr) return Read(certificate.get());
  return Error{ErrorCode::kMalformed, "expected a certificate in PEM, found none"};
}

Result<CertificateInfo> ReadCertificateDer(ByteSpan der) {
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const unsigned char* const end = at + der.size();
  const X509Ptr certificate(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  ERR_clear_error();
  if (certificate != nullptr && at == end) return Read(certificate.get());
  return Error{ErrorCode::kMalformed, "expected a certificate in DER, found none"};
}

}  // namespace fl::crypto
