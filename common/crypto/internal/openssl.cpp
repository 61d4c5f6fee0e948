#include "fl/common/crypto/internal/openssl.h"

#include <time.h>

#include <chrono>
#include <ctime>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "fl/common/base/check.h"

namespace fl::crypto::internal {

BioPtr ReadOnly(std::string_view text) {
  FL_CHECK(text.size() <= (1U << 30), "a PEM file is small");
  BioPtr bio(BIO_new_mem_buf(text.empty() ? "" : text.data(), static_cast<int>(text.size())));
  FL_CHECK(bio != nullptr, "out of memory");
  return bio;
}

std::string Content(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

X509Ptr ReadX509(BIO* bio) {
  X509Ptr certificate(PEM_read_bio_X509(bio, nullptr, nullptr, nullptr));
  ERR_clear_error();
  return certificate;
}

RequestPtr ReadRequest(std::string_view pem) {
  const BioPtr bio = ReadOnly(pem);
  RequestPtr request(PEM_read_bio_X509_REQ(bio.get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  return request;
}

std::string SerialText(const ASN1_INTEGER* serial) {
  const BignumPtr number(ASN1_INTEGER_to_BN(serial, nullptr));
  FL_CHECK(number != nullptr, "out of memory");
  std::string bytes(static_cast<std::size_t>(BN_num_bytes(number.get())), '\0');
  BN_bn2bin(number.get(), reinterpret_cast<unsigned char*>(bytes.data()));
  return ToHex(AsBytes(bytes));
}

bool IsP256(EVP_PKEY* key) {
  char group[32];
  std::size_t size = 0;
  const bool is_named =
      key != nullptr && EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group,
                                                       sizeof(group), &size) == 1;
  ERR_clear_error();
  return is_named && std::string_view(group, size) == "prime256v1";
}

std::string TakeError() {
  char text[256];
  ERR_error_string_n(ERR_get_error(), text, sizeof(text));
  ERR_clear_error();
  return text;
}

void SetCommonName(X509_NAME* subject, std::string_view name) {
  const auto* const bytes = reinterpret_cast<const unsigned char*>(name.data());
  FL_CHECK(X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_ASC, bytes,
                                      static_cast<int>(name.size()), -1, 0) == 1,
           "out of memory");
}

std::string CommonName(const X509_NAME* subject) {
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0) return {};
  const ASN1_STRING* const text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
          static_cast<std::size_t>(ASN1_STRING_length(text))};
}

TimePtr ToAsn1(TimePoint time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time.time_since_epoch());
  TimePtr result(ASN1_TIME_set(nullptr, static_cast<std::time_t>(seconds.count())));
  FL_CHECK(result != nullptr, "a time that ASN.1 cannot hold");
  return result;
}

TimePoint FromAsn1(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return FromMicroseconds(0);
  return TimePoint(std::chrono::seconds(::timegm(&parts)));
}

}  // namespace fl::crypto::internal
