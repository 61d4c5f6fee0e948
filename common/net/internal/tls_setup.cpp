#include "fl/common/net/internal/tls_setup.h"

#include <array>
#include <utility>

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

namespace fl::net::internal {
namespace {

template <auto kFree>
struct FreeWith {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using BioPtr = std::unique_ptr<BIO, FreeWith<BIO_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>>;
using X509Ptr = std::unique_ptr<X509, FreeWith<X509_free>>;

constexpr const char* kSuites =
    "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256";
constexpr const char* kGroups = "X25519:P-256";

BioPtr ReadOnly(std::string_view text) {
  BioPtr bio(BIO_new_mem_buf(text.empty() ? "" : text.data(), static_cast<int>(text.size())));
  FL_CHECK(bio != nullptr, "out of memory");
  return bio;
}

X509Ptr ReadX509(BIO* bio) {
  X509Ptr certificate(PEM_read_bio_X509(bio, nullptr, nullptr, nullptr));
  ERR_clear_error();
  return certificate;
}

Result<> TrustAuthority(SSL_CTX* context, const std::string& authority) {
  const BioPtr bio = ReadOnly(authority);
  int count = 0;
  while (const X509Ptr certificate = ReadX509(bio.get())) {
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate.get());
    count += 1;
  }
  if (count > 0) return Ok{};
  return Error{ErrorCode::kMalformed, "CA: expected certificates in PEM, found none"};
}

Result<> UseCertificate(SSL_CTX* context, const std::string& chain) {
  const BioPtr bio = ReadOnly(chain);
  const X509Ptr leaf = ReadX509(bio.get());
  if (leaf == nullptr || SSL_CTX_use_certificate(context, leaf.get()) != 1) {
    ERR_clear_error();
    return Error{ErrorCode::kMalformed, "certificate: expected one in PEM, found none"};
  }
  while (const X509Ptr next = ReadX509(bio.get())) SSL_CTX_add1_chain_cert(context, next.get());
  return Ok{};
}

Result<> UseKey(SSL_CTX* context, std::string_view pem) {
  char passphrase[] = "";  // Without one OpenSSL would ask at the terminal.
  const KeyPtr key(PEM_read_bio_PrivateKey(ReadOnly(pem).get(), nullptr, nullptr, passphrase));
  ERR_clear_error();
  if (key == nullptr) {
    return Error{ErrorCode::kMalformed, "key: expected a private key in PEM, found none"};
  }
  const bool fits =
      SSL_CTX_use_PrivateKey(context, key.get()) == 1 && SSL_CTX_check_private_key(context) == 1;
  ERR_clear_error();
  if (fits) return Ok{};
  return Error{ErrorCode::kInvalidArgument, "key: expected the certificate's key, found another"};
}

Result<SslContextPtr> MakeContext(const SSL_METHOD* method, const TlsFiles& files) {
  SslContextPtr context(SSL_CTX_new(method));
  FL_CHECK(context != nullptr, "OpenSSL has no TLS");
  SSL_CTX* const raw = context.get();
  FL_CHECK(SSL_CTX_set_min_proto_version(raw, TLS1_3_VERSION) == 1 &&
               SSL_CTX_set_ciphersuites(raw, kSuites) == 1 &&
               SSL_CTX_set1_groups_list(raw, kGroups) == 1,
           "OpenSSL lacks TLS 1.3 or its suites");
  SSL_CTX_set_mode(raw, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                            SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // One call of the system for a record.
  SSL_CTX_set_read_ahead(raw, 1);
  SSL_CTX_set_options(raw, SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(raw, 0);
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  FL_TRY_OK(TrustAuthority(raw, files.authority));
  FL_TRY_OK(UseCertificate(raw, files.certificate));
  FL_TRY_OK(UseKey(raw, files.key.text()));
  return context;
}

// The slot of an SSL_CTX that holds the server's revocations.
int RevocationsSlot() {
  static const int slot = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return slot;
}

Result<crypto::CertificateInfo> Describe(X509* certificate) {
  unsigned char* der = nullptr;
  const int size = i2d_X509(certificate, &der);
  FL_CHECK(size > 0, "a certificate that OpenSSL cannot write");
  auto info = crypto::ReadCertificateDer(
      {reinterpret_cast<const std::byte*>(der), static_cast<std::size_t>(size)});
  OPENSSL_free(der);
  return info;
}

// Runs for each certificate of the client's chain after OpenSSL's own checks; for the leaf it adds
// name, role and revocation.
int VerifyClient(int is_valid, X509_STORE_CTX* store) {
  if (is_valid == 0 || X509_STORE_CTX_get_error_depth(store) != 0) return is_valid;
  const auto* const connection = static_cast<const SSL*>(
      X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* const revocations = static_cast<SharedRevocations*>(
      SSL_CTX_get_ex_data(SSL_get_SSL_CTX(connection), RevocationsSlot()));
  const auto info = Describe(X509_STORE_CTX_get_current_cert(store));
  if (!info || info->role == crypto::CertificateRole::kServer) {
    X509_STORE_CTX_set_error(store, X509_V_ERR_INVALID_PURPOSE);
    return 0;
  }
  const auto list = revocations->With([](const auto& current) { return current; });
  if (list == nullptr || !list->Contains(info->serial)) return 1;
  X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REVOKED);
  return 0;
}

int VerifyServer(int is_valid, X509_STORE_CTX* store) {
  if (is_valid == 0 || X509_STORE_CTX_get_error_depth(store) != 0) return is_valid;
  const auto info = Describe(X509_STORE_CTX_get_current_cert(store));
  if (info && info->role == crypto::CertificateRole::kServer) return 1;
  X509_STORE_CTX_set_error(store, X509_V_ERR_INVALID_PURPOSE);
  return 0;
}

// The alerts by which the other end refuses a certificate (RFC 8446, 6.2).
constexpr std::array kCertificateAlerts = {
    SSL_AD_BAD_CERTIFICATE,     SSL_AD_UNSUPPORTED_CERTIFICATE, SSL_AD_CERTIFICATE_REVOKED,
    SSL_AD_CERTIFICATE_EXPIRED, SSL_AD_CERTIFICATE_UNKNOWN,     SSL_AD_UNKNOWN_CA,
    SSL_AD_ACCESS_DENIED,       SSL_AD_CERTIFICATE_REQUIRED,    SSL_AD_NO_CERTIFICATE};

}  // namespace

Result<SslContextPtr> MakeServerContext(const TlsFiles& files, SharedRevocations& revocations) {
  FL_TRY(SslContextPtr context, MakeContext(TLS_server_method(), files));
  SSL_CTX_set_ex_data(context.get(), RevocationsSlot(), &revocations);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                     VerifyClient);
  return context;
}

bool IsAddress(const std::string& host) {
  in6_addr address{};
  return ::inet_pton(AF_INET, host.c_str(), &address) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

void SendServerName(SSL* connection, const std::string& host) {
  if (IsAddress(host)) return;
  std::string name = host;
  SSL_ctrl(connection, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name.data());
}

Result<SslContextPtr> MakeClientContext(const TlsFiles& files, const std::string& host) {
  FL_TRY(SslContextPtr context, MakeContext(TLS_client_method(), files));
  X509_VERIFY_PARAM* const verified = SSL_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_hostflags(
      verified, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
  const int is_set = IsAddress(host)
                         ? X509_VERIFY_PARAM_set1_ip_asc(verified, host.c_str())
                         : X509_VERIFY_PARAM_set1_host(verified, host.data(), host.size());
  if (is_set != 1 || host.empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 "server: expected a DNS name or an IP address, found \"" + host + "\""};
  }
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, VerifyServer);
  return context;
}

Result<crypto::CertificateInfo> PeerCertificate(const SSL* connection) {
  X509* const certificate = SSL_get0_peer_certificate(connection);
  if (certificate != nullptr && SSL_get_verify_result(connection) == X509_V_OK) {
    return Describe(certificate);
  }
  return Error{ErrorCode::kUnauthorized, "expected a valid certificate, found none"};
}

Error DescribeTlsFailure(const SSL* connection, unsigned long number) {
  const long verified = SSL_get_verify_result(connection);
  if (verified != X509_V_OK) {
    return {ErrorCode::kUnauthorized, std::string("expected a valid certificate, found: ") +
                                          X509_verify_cert_error_string(verified)};
  }
  const char* const text = ERR_reason_error_string(number);
  const std::string reason = text != nullptr ? text : "TLS error " + std::to_string(number);
  const int alert = ERR_GET_REASON(number) - SSL_AD_REASON_OFFSET;
  for (const int refused : kCertificateAlerts) {
    if (alert != refused) continue;
    return {ErrorCode::kUnauthorized, "the other end refuses our certificate: " + reason};
  }
  return {ErrorCode::kUnavailable, "expected TLS 1.3, found: " + reason};
}

}  // namespace fl::net::internal
