#include "fl/common/crypto/certificate.h"

#include "fl/common/crypto/certificate_authority.h"
#include "fl/common/crypto/revocation_list.h"

// Whatever stands in a certificate, a signing request or a revocation list, it is refused or read;
// a name that is read is safe as the name of a file.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace fl::crypto;  // NOLINT(google-build-using-namespace): ten lines.
  const fl::ByteSpan bytes = std::as_bytes(std::span(data, size));
  const auto info = ReadCertificateDer(bytes);
  if (info) FL_CHECK(CheckCertificateName(info->name).has_value(), "a name that was not checked");
  static_cast<void>(ReadCertificate(fl::AsText(bytes)).has_value());
  static_cast<void>(SigningRequestName(fl::AsText(bytes)).has_value());
  static_cast<void>(RevocationList::FromPem(fl::AsText(bytes), fl::AsText(bytes)).has_value());
  return 0;
}
