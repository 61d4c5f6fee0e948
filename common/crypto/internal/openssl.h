#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "fl/common/base/clock.h"
#include "fl/common/crypto/private_key.h"

// OpenSSL's objects with owners, for the sources of this library only.
namespace fl::crypto::internal {

template <auto kFree>
struct FreeWith {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using BioPtr = std::unique_ptr<BIO, FreeWith<BIO_free>>;
using BignumPtr = std::unique_ptr<BIGNUM, FreeWith<BN_free>>;
using CrlPtr = std::unique_ptr<X509_CRL, FreeWith<X509_CRL_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, FreeWith<X509_EXTENSION_free>>;
using IntegerPtr = std::unique_ptr<ASN1_INTEGER, FreeWith<ASN1_INTEGER_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>>;
using NamesPtr = std::unique_ptr<GENERAL_NAMES, FreeWith<GENERAL_NAMES_free>>;
using RequestPtr = std::unique_ptr<X509_REQ, FreeWith<X509_REQ_free>>;
using RevokedPtr = std::unique_ptr<X509_REVOKED, FreeWith<X509_REVOKED_free>>;
using TimePtr = std::unique_ptr<ASN1_TIME, FreeWith<ASN1_TIME_free>>;
using UsagePtr = std::unique_ptr<EXTENDED_KEY_USAGE, FreeWith<EXTENDED_KEY_USAGE_free>>;
using X509Ptr = std::unique_ptr<X509, FreeWith<X509_free>>;

// A BIO that reads the text in place.
BioPtr ReadOnly(std::string_view text);
// What was written to a memory BIO.
std::string Content(BIO* bio);

// The next certificate of the PEM text; null at its end or when it is none. Clears OpenSSL's error
// queue.
X509Ptr ReadX509(BIO* bio);
RequestPtr ReadRequest(std::string_view pem);

// Lower-case hexadecimal.
std::string SerialText(const ASN1_INTEGER* serial);
bool IsP256(EVP_PKEY* key);

// The first entry of OpenSSL's error queue as text; empties the queue.
std::string TakeError();

// Sets the common name, the one part of our subjects.
void SetCommonName(X509_NAME* subject, std::string_view name);
// Empty when there is not exactly one.
std::string CommonName(const X509_NAME* subject);

TimePtr ToAsn1(TimePoint time);
TimePoint FromAsn1(const ASN1_TIME* time);

}  // namespace fl::crypto::internal

namespace fl::crypto {

struct PrivateKey::State {
  internal::KeyPtr key;
};

}  // namespace fl::crypto
