#include "fl/common/crypto/private_key.h"

#include <utility>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "fl/common/base/check.h"
#include "fl/common/crypto/certificate.h"
#include "fl/common/crypto/internal/openssl.h"

namespace fl::crypto {

using internal::BioPtr;
using internal::Content;
using internal::IsP256;
using internal::ReadOnly;
using internal::RequestPtr;
using internal::SetCommonName;

PrivateKey::PrivateKey(std::unique_ptr<State> state) : state_(std::move(state)) {}
PrivateKey::PrivateKey(PrivateKey&& other) noexcept = default;
PrivateKey& PrivateKey::operator=(PrivateKey&& other) noexcept = default;
PrivateKey::~PrivateKey() = default;

PrivateKey PrivateKey::Generate() {
  auto state = std::make_unique<State>();
  state->key.reset(EVP_EC_gen("P-256"));
  FL_CHECK(state->key != nullptr, "OpenSSL makes no P-256 key");
  return PrivateKey(std::move(state));
}

Result<PrivateKey> PrivateKey::FromPem(std::string_view pem) {
  const BioPtr bio = ReadOnly(pem);
  // An empty passphrase: without one OpenSSL would ask at the terminal.
  char passphrase[] = "";
  auto state = std::make_unique<State>();
  state->key.reset(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, passphrase));
  ERR_clear_error();
  if (state->key == nullptr) {
    return Error{ErrorCode::kMalformed, "expected a private key in PEM, found none"};
  }
  if (!IsP256(state->key.get())) {
    return Error{ErrorCode::kUnsupported, "expected a key on the curve P-256, found another kind"};
  }
  return PrivateKey(std::move(state));
}

Secret PrivateKey::ToPem() const {
  // Secure memory is wiped when the BIO is freed.
  const BioPtr bio(BIO_new(BIO_s_secmem()));
  FL_CHECK(bio != nullptr, "out of memory");
  FL_CHECK(PEM_write_bio_PrivateKey(bio.get(), state_->key.get(), nullptr, nullptr, 0, nullptr,
                                    nullptr) == 1,
           "OpenSSL writes no key");
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return Secret::Copy(AsBytes(std::string_view(data, static_cast<std::size_t>(size))));
}

Result<std::string> MakeSigningRequest(const PrivateKey& key, std::string_view name) {
  FL_TRY_OK(CheckCertificateName(name));
  const RequestPtr request(X509_REQ_new());
  FL_CHECK(request != nullptr, "out of memory");
  SetCommonName(X509_REQ_get_subject_name(request.get()), name);
  EVP_PKEY* const handle = key.state().key.get();
  FL_CHECK(X509_REQ_set_pubkey(request.get(), handle) == 1 &&
               X509_REQ_sign(request.get(), handle, EVP_sha256()) > 0,
           "OpenSSL signs no request");
  const BioPtr bio(BIO_new(BIO_s_mem()));
  FL_CHECK(PEM_write_bio_X509_REQ(bio.get(), request.get()) == 1, "out of memory");
  return Content(bio.get());
}

}  // namespace fl::crypto
