#include "fl/common/crypto/revocation_list.h"

#include <algorithm>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "fl/common/crypto/internal/openssl.h"

namespace fl::crypto {
namespace {

using internal::BioPtr;
using internal::CrlPtr;
using internal::ReadOnly;
using internal::ReadX509;
using internal::SerialText;
using internal::X509Ptr;

bool IsSignedByOneOf(X509_CRL* crl, std::string_view authority) {
  const BioPtr bio = ReadOnly(authority);
  while (const X509Ptr certificate = ReadX509(bio.get())) {
    const bool is_issuer =
        X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_subject_name(certificate.get())) == 0;
    const bool is_signed =
        is_issuer && X509_CRL_verify(crl, X509_get0_pubkey(certificate.get())) == 1;
    ERR_clear_error();
    if (is_signed) return true;
  }
  return false;
}

}  // namespace

Result<RevocationList> RevocationList::FromPem(std::string_view pem, std::string_view authority) {
  const CrlPtr crl(PEM_read_bio_X509_CRL(ReadOnly(pem).get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (crl == nullptr) {
    return Error{ErrorCode::kMalformed, "expected a revocation list in PEM, found none"};
  }
  if (!IsSignedByOneOf(crl.get(), authority)) {
    return Error{ErrorCode::kUnauthorized,
                 "expected a revocation list signed by the CA, found another signature"};
  }
  RevocationList list;
  const STACK_OF(X509_REVOKED)* const entries = X509_CRL_get_REVOKED(crl.get());
  for (int i = 0; i < sk_X509_REVOKED_num(entries); ++i) {
    const X509_REVOKED* const entry = sk_X509_REVOKED_value(entries, i);
    list.serials_.push_back(SerialText(X509_REVOKED_get0_serialNumber(entry)));
  }
  std::ranges::sort(list.serials_);
  return list;
}

bool RevocationList::Contains(std::string_view serial) const {
  return std::ranges::binary_search(serials_, serial);
}

}  // namespace fl::crypto
