#include "fl/benchmarks/load/tls_link.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <system_error>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include "fl/common/base/check.h"

namespace fl::bench {
namespace {

using BioPtr = std::unique_ptr<BIO, decltype(&BIO_free)>;
using CertificatePtr = std::unique_ptr<X509, decltype(&X509_free)>;
using KeyPtr = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

BioPtr ReadOnly(std::string_view text) {
  return {BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), &BIO_free};
}

CertificatePtr ReadCertificatePem(const std::string& pem) {
  return {PEM_read_bio_X509(ReadOnly(pem).get(), nullptr, nullptr, nullptr), &X509_free};
}

KeyPtr ReadKeyPem(const crypto::Secret& key) {
  return {PEM_read_bio_PrivateKey(ReadOnly(key.text()).get(), nullptr, nullptr, nullptr),
          &EVP_PKEY_free};
}

Error Failed(const std::string& doing) {
  return {ErrorCode::kIo, "load: cannot " + doing + ": " + std::generic_category().message(errno)};
}

ssl_ctx_st* MakeContext(const SSL_METHOD* method, const std::string& authority) {
  SSL_CTX* const context = SSL_CTX_new(method);
  FL_CHECK(context != nullptr, "OpenSSL has no TLS");
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  const CertificatePtr trusted = ReadCertificatePem(authority);
  X509_STORE_add_cert(SSL_CTX_get_cert_store(context), trusted.get());
  return context;
}

}  // namespace

TlsContext::TlsContext(ssl_ctx_st* context) : context_(context, &SSL_CTX_free) {}

Result<TlsContext> TlsContext::Client(const std::string& authority) {
  TlsContext context(MakeContext(TLS_client_method(), authority));
  SSL_CTX_set_verify(context.raw(), SSL_VERIFY_PEER, nullptr);
  return context;
}

Result<TlsContext> TlsContext::Server(const net::TlsFiles& files) {
  TlsContext context(MakeContext(TLS_server_method(), files.authority));
  const bool is_usable =
      SSL_CTX_use_certificate(context.raw(), ReadCertificatePem(files.certificate).get()) == 1 &&
      SSL_CTX_use_PrivateKey(context.raw(), ReadKeyPem(files.key).get()) == 1;
  if (!is_usable) return Error{ErrorCode::kMalformed, "load: a certificate without its key"};
  SSL_CTX_set_verify(context.raw(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return context;
}

Result<TlsLink> TlsLink::Connect(const TlsContext& context, std::uint16_t port,
                                 const std::string& certificate, const crypto::Secret& key,
                                 int receive_bytes) {
  FL_TRY(TlsLink link, Open(context, port, certificate, key, receive_bytes));
  ::fcntl(link.socket_, F_SETFL, O_NONBLOCK);
  return link;
}

Result<TlsLink> TlsLink::ConnectBlocking(const TlsContext& context, std::uint16_t port,
                                         const std::string& certificate,
                                         const crypto::Secret& key) {
  return Open(context, port, certificate, key, 0);
}

Result<TlsLink> TlsLink::Open(const TlsContext& context, std::uint16_t port,
                              const std::string& certificate, const crypto::Secret& key,
                              int receive_bytes) {
  TlsLink link(SSL_new(context.raw()), ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (link.socket_ < 0) return Failed("open a socket");
  if (receive_bytes > 0) {
    ::setsockopt(link.socket_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(link.socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    return Failed("connect to port " + std::to_string(port));
  }
  const int on = 1;
  ::setsockopt(link.socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  SSL_use_certificate(link.tls_, ReadCertificatePem(certificate).get());
  SSL_use_PrivateKey(link.tls_, ReadKeyPem(key).get());
  SSL_set_fd(link.tls_, link.socket_);
  SSL_set_connect_state(link.tls_);
  return link;
}

TlsLink TlsLink::Accept(const TlsContext& context, int socket) {
  TlsLink link(SSL_new(context.raw()), socket);
  SSL_set_fd(link.tls_, socket);
  SSL_set_accept_state(link.tls_);
  return link;
}

TlsLink::TlsLink(TlsLink&& other) noexcept
    : tls_(std::exchange(other.tls_, nullptr)), socket_(std::exchange(other.socket_, -1)) {}

TlsLink& TlsLink::operator=(TlsLink&& other) noexcept {
  std::swap(tls_, other.tls_);
  std::swap(socket_, other.socket_);
  return *this;
}

TlsLink::~TlsLink() {
  Close();
}

void TlsLink::Close() {
  SSL_free(std::exchange(tls_, nullptr));
  if (socket_ >= 0) ::close(std::exchange(socket_, -1));
}

Moved TlsLink::Outcome(int code) {
  if (code > 0) return {Moved::State::kMoved, static_cast<std::size_t>(code)};
  const int reason = SSL_get_error(tls_, code);
  ERR_clear_error();
  const bool again = reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE;
  return {again ? Moved::State::kAgain : Moved::State::kClosed, 0};
}

Moved TlsLink::Handshake() {
  return Outcome(SSL_do_handshake(tls_));
}

Moved TlsLink::Write(ByteSpan bytes) {
  const auto size = static_cast<int>(std::min<std::size_t>(bytes.size(), INT_MAX));
  return Outcome(SSL_write(tls_, bytes.data(), size));
}

Moved TlsLink::Read(std::span<std::byte> into) {
  const auto size = static_cast<int>(std::min<std::size_t>(into.size(), INT_MAX));
  return Outcome(SSL_read(tls_, into.data(), size));
}

}  // namespace fl::bench
