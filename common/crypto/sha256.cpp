#include "fl/common/crypto/sha256.h"

#include <utility>

#include <openssl/evp.h>

namespace fl::crypto {
namespace {

// Looked up once: OpenSSL 3 searches its providers at each EVP_sha256().
const EVP_MD* Algorithm() {
  static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  FL_CHECK(algorithm != nullptr, "OpenSSL has no SHA-256");
  return algorithm;
}

}  // namespace

struct Sha256Stream::State {
  State() : handle(EVP_MD_CTX_new()) { FL_CHECK(handle != nullptr, "out of memory"); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { EVP_MD_CTX_free(handle); }

  void Start() {
    FL_CHECK(EVP_DigestInit_ex(handle, Algorithm(), nullptr) == 1, "SHA-256 cannot start");
  }
  EVP_MD_CTX* handle;
};

Sha256Stream::Sha256Stream() : state_(std::make_unique<State>()) {
  state_->Start();
}
Sha256Stream::Sha256Stream(const Sha256Stream& other) : state_(std::make_unique<State>()) {
  FL_CHECK(EVP_MD_CTX_copy_ex(state_->handle, other.state_->handle) == 1, "SHA-256 failed");
}
Sha256Stream::Sha256Stream(Sha256Stream&& other) noexcept = default;
Sha256Stream& Sha256Stream::operator=(Sha256Stream&& other) noexcept = default;
Sha256Stream::~Sha256Stream() = default;

void Sha256Stream::Update(ByteSpan bytes) {
  FL_CHECK(EVP_DigestUpdate(state_->handle, bytes.data(), bytes.size()) == 1, "SHA-256 failed");
}

Digest Sha256Stream::Finish() {
  Digest digest;
  auto* const out = reinterpret_cast<unsigned char*>(digest.bytes.data());
  FL_CHECK(EVP_DigestFinal_ex(state_->handle, out, nullptr) == 1, "SHA-256 failed");
  state_->Start();
  return digest;
}

Digest Sha256(ByteSpan bytes) {
  Sha256Stream stream;
  stream.Update(bytes);
  return stream.Finish();
}

}  // namespace fl::crypto
