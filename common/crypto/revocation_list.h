#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fl/common/base/result.h"

namespace fl::crypto {

// The serial numbers that a CA has withdrawn. Thread safety: shared const objects safe.
class RevocationList {
 public:
  RevocationList() = default;
  // Reads a CRL in PEM and verifies its signature by one of the certificates in `authority` (PEM).
  // kMalformed when it is none, kUnauthorized when none of them signed it.
  static Result<RevocationList> FromPem(std::string_view pem, std::string_view authority);

  bool Contains(std::string_view serial) const;
  // Lower-case hexadecimal, sorted.
  const std::vector<std::string>& serials() const { return serials_; }

 private:
  std::vector<std::string> serials_;
};

}  // namespace fl::crypto
