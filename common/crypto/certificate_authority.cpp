#include "fl/common/crypto/certificate_authority.h"

#include <algorithm>
#include <array>
#include <utility>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "fl/common/crypto/internal/openssl.h"
#include "fl/common/crypto/secure_random.h"

namespace fl::crypto {

using internal::BignumPtr;
using internal::BioPtr;
using internal::CommonName;
using internal::Content;
using internal::CrlPtr;
using internal::ExtensionPtr;
using internal::FromAsn1;
using internal::IntegerPtr;
using internal::IsP256;
using internal::ReadOnly;
using internal::ReadRequest;
using internal::ReadX509;
using internal::RequestPtr;
using internal::RevokedPtr;
using internal::SetCommonName;
using internal::TimePtr;
using internal::ToAsn1;
using internal::X509Ptr;

struct CertificateAuthority::State {
  X509Ptr certificate;
};

namespace {

constexpr int kVersion3 = 2;  // X.509 counts from 0.
constexpr int kCrlVersion2 = 1;

// 127 random bits: positive, and never twice.
IntegerPtr RandomSerial() {
  std::array<std::byte, 16> bytes{};
  SecureRandom().Fill(bytes);
  bytes[0] &= std::byte{0x7F};
  const BignumPtr number(BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()),
                                   static_cast<int>(bytes.size()), nullptr));
  IntegerPtr serial(BN_to_ASN1_INTEGER(number.get(), nullptr));
  FL_CHECK(serial != nullptr, "out of memory");
  return serial;
}

// `value` in OpenSSL's configuration language: "critical,CA:TRUE".
void AddExtension(X509* certificate, X509* issuer, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str()));
  FL_CHECK(extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1,
           "an extension that OpenSSL refuses");
}

void SetValidity(X509* certificate, Validity validity) {
  X509_set1_notBefore(certificate, ToAsn1(validity.not_before).get());
  X509_set1_notAfter(certificate, ToAsn1(validity.not_after).get());
}

X509Ptr NewCertificate(std::string_view name, Validity validity, EVP_PKEY* key) {
  X509Ptr certificate(X509_new());
  FL_CHECK(certificate != nullptr, "out of memory");
  X509_set_version(certificate.get(), kVersion3);
  X509_set_serialNumber(certificate.get(), RandomSerial().get());
  SetCommonName(X509_get_subject_name(certificate.get()), name);
  SetValidity(certificate.get(), validity);
  FL_CHECK(X509_set_pubkey(certificate.get(), key) == 1, "a key that OpenSSL refuses");
  return certificate;
}

std::string ToPem(X509* certificate) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  FL_CHECK(PEM_write_bio_X509(bio.get(), certificate) == 1, "out of memory");
  return Content(bio.get());
}

bool IsAddress(const std::string& host) {
  ASN1_OCTET_STRING* const address = a2i_IPADDRESS(host.c_str());
  const bool is_address = address != nullptr;
  ASN1_OCTET_STRING_free(address);
  ERR_clear_error();
  return is_address;
}

bool IsDnsName(std::string_view host) {
  const auto is_allowed = [](char letter) {
    return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
           (letter >= '0' && letter <= '9') || letter == '-' || letter == '.';
  };
  return !host.empty() && host.size() <= 253 && host.front() != '.' && host.front() != '-' &&
         std::ranges::all_of(host, is_allowed);
}

// "URI:spiffe://fl/server/NAME,DNS:localhost,IP:127.0.0.1". Name and hosts were checked: no comma
// is in them.
std::string AlternativeNames(const CertificateRequest& request) {
  std::string names = "URI:" + CertificateUri(request.name, request.role);
  for (const std::string& host : request.hosts) {
    names.append(IsAddress(host) ? ",IP:" : ",DNS:").append(host);
  }
  return names;
}

Result<> Check(const CertificateRequest& request) {
  FL_TRY_OK(CheckCertificateName(request.name));
  const bool is_server = request.role == CertificateRole::kServer;
  if (is_server == request.hosts.empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 is_server ? "host: expected at least one for a server, found none"
                           : "host: expected none for a client or an admin, found some"};
  }
  for (const std::string& host : request.hosts) {
    if (IsAddress(host) || IsDnsName(host)) continue;
    return Error{ErrorCode::kInvalidArgument,
                 "host: expected a DNS name or an IP address, found \"" + host + "\""};
  }
  if (request.validity.not_before < request.validity.not_after) return Ok{};
  return Error{ErrorCode::kInvalidArgument, "validity: expected an end after its start"};
}

std::string SignedCertificate(const CertificateRequest& request, EVP_PKEY* key, X509* issuer,
                              EVP_PKEY* issuer_key) {
  const X509Ptr certificate = NewCertificate(request.name, request.validity, key);
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer));
  const bool is_server = request.role == CertificateRole::kServer;
  AddExtension(certificate.get(), issuer, NID_basic_constraints, "critical,CA:FALSE");
  AddExtension(certificate.get(), issuer, NID_key_usage, "critical,digitalSignature");
  AddExtension(certificate.get(), issuer, NID_ext_key_usage,
               is_server ? "critical,serverAuth" : "critical,clientAuth");
  AddExtension(certificate.get(), issuer, NID_subject_alt_name, AlternativeNames(request));
  AddExtension(certificate.get(), issuer, NID_subject_key_identifier, "hash");
  AddExtension(certificate.get(), issuer, NID_authority_key_identifier, "keyid");
  FL_CHECK(X509_sign(certificate.get(), issuer_key, EVP_sha256()) > 0, "OpenSSL does not sign");
  return ToPem(certificate.get());
}

}  // namespace

CertificateAuthority::CertificateAuthority(std::unique_ptr<State> state, std::string certificate,
                                           PrivateKey key)
    : state_(std::move(state)), certificate_(std::move(certificate)), key_(std::move(key)) {}
CertificateAuthority::CertificateAuthority(CertificateAuthority&& other) noexcept = default;
CertificateAuthority& CertificateAuthority::operator=(CertificateAuthority&& other) noexcept =
    default;
CertificateAuthority::~CertificateAuthority() = default;

CertificateAuthority CertificateAuthority::Create(Validity validity) {
  PrivateKey key = PrivateKey::Generate();
  EVP_PKEY* const handle = key.state().key.get();
  auto state = std::make_unique<State>();
  // The random word keeps the names of two authorities apart, so that a chain is never tried
  // against the wrong one.
  std::array<std::byte, 4> word{};
  SecureRandom().Fill(word);
  state->certificate = NewCertificate("fl authority " + ToHex(word), validity, handle);
  X509* const certificate = state->certificate.get();
  X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
  AddExtension(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
  AddExtension(certificate, certificate, NID_key_usage, "critical,keyCertSign,cRLSign");
  AddExtension(certificate, certificate, NID_subject_key_identifier, "hash");
  FL_CHECK(X509_sign(certificate, handle, EVP_sha256()) > 0, "OpenSSL does not sign");
  std::string pem = ToPem(certificate);
  return {std::move(state), std::move(pem), std::move(key)};
}

Result<CertificateAuthority> CertificateAuthority::FromPem(std::string_view certificate,
                                                           std::string_view key) {
  FL_TRY(PrivateKey private_key, PrivateKey::FromPem(key));
  auto state = std::make_unique<State>();
  state->certificate = ReadX509(ReadOnly(certificate).get());
  if (state->certificate == nullptr || X509_check_ca(state->certificate.get()) != 1) {
    return Error{ErrorCode::kMalformed, "expected the certificate of a CA in PEM, found none"};
  }
  if (X509_check_private_key(state->certificate.get(), private_key.state().key.get()) != 1) {
    ERR_clear_error();
    return Error{ErrorCode::kInvalidArgument,
                 "expected the key of the CA's certificate, found another"};
  }
  std::string pem = ToPem(state->certificate.get());
  return CertificateAuthority(std::move(state), std::move(pem), std::move(private_key));
}

TimePoint CertificateAuthority::not_after() const {
  return FromAsn1(X509_get0_notAfter(state_->certificate.get()));
}

Result<std::string> CertificateAuthority::Issue(const CertificateRequest& request,
                                                const PrivateKey& key) const {
  FL_TRY_OK(Check(request));
  return SignedCertificate(request, key.state().key.get(), state_->certificate.get(),
                           key_.state().key.get());
}

Result<std::string> CertificateAuthority::Sign(const CertificateRequest& request,
                                               std::string_view signing_request) const {
  FL_TRY_OK(Check(request));
  FL_TRY(const std::string name, SigningRequestName(signing_request));
  if (name != request.name) {
    return Error{ErrorCode::kInvalidArgument,
                 "signing request: expected the name " + request.name + ", found " + name};
  }
  const RequestPtr parsed = ReadRequest(signing_request);
  EVP_PKEY* const key = X509_REQ_get0_pubkey(parsed.get());
  if (!IsP256(key)) {
    return Error{ErrorCode::kUnsupported,
                 "signing request: expected a key on the curve P-256, found another kind"};
  }
  const bool is_proven = X509_REQ_verify(parsed.get(), key) == 1;
  ERR_clear_error();
  if (!is_proven) {
    return Error{ErrorCode::kUnauthorized,
                 "signing request: expected a signature by its own key, found another"};
  }
  return SignedCertificate(request, key, state_->certificate.get(), key_.state().key.get());
}

Result<std::string> CertificateAuthority::Revoke(std::span<const std::string> serials,
                                                 Validity validity) const {
  const CrlPtr crl(X509_CRL_new());
  FL_CHECK(crl != nullptr, "out of memory");
  X509_CRL_set_version(crl.get(), kCrlVersion2);
  X509_CRL_set_issuer_name(crl.get(), X509_get_subject_name(state_->certificate.get()));
  const TimePtr now = ToAsn1(validity.not_before);
  X509_CRL_set1_lastUpdate(crl.get(), now.get());
  X509_CRL_set1_nextUpdate(crl.get(), ToAsn1(validity.not_after).get());
  for (const std::string& serial : serials) {
    FL_TRY(const Bytes bytes, FromHex(serial));
    const BignumPtr number(BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()),
                                     static_cast<int>(bytes.size()), nullptr));
    const IntegerPtr integer(BN_to_ASN1_INTEGER(number.get(), nullptr));
    RevokedPtr entry(X509_REVOKED_new());
    X509_REVOKED_set_serialNumber(entry.get(), integer.get());
    X509_REVOKED_set_revocationDate(entry.get(), now.get());
    FL_CHECK(X509_CRL_add0_revoked(crl.get(), entry.release()) == 1, "out of memory");
  }
  X509_CRL_sort(crl.get());
  FL_CHECK(X509_CRL_sign(crl.get(), key_.state().key.get(), EVP_sha256()) > 0,
           "OpenSSL does not sign");
  const BioPtr bio(BIO_new(BIO_s_mem()));
  FL_CHECK(PEM_write_bio_X509_CRL(bio.get(), crl.get()) == 1, "out of memory");
  return Content(bio.get());
}

Result<std::string> SigningRequestName(std::string_view signing_request) {
  const RequestPtr request = ReadRequest(signing_request);
  if (request == nullptr) {
    return Error{ErrorCode::kMalformed, "expected a signing request in PEM, found none"};
  }
  std::string name = CommonName(X509_REQ_get_subject_name(request.get()));
  FL_TRY_OK(CheckCertificateName(name));
  return name;
}

}  // namespace fl::crypto
