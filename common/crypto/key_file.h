#pragma once

#include <filesystem>

#include "fl/common/base/result.h"
#include "fl/common/crypto/secret.h"

namespace fl::crypto {

// Writes a private key so that only its owner can read it (0600 from the first byte on).
// kInvalidArgument when the file exists: a key is never overwritten.
Result<> WriteKeyFile(const std::filesystem::path& path, const Secret& key);

// Reads a private key. kUnauthorized when group or others may read or write the file, with the
// command that mends it.
Result<Secret> ReadKeyFile(const std::filesystem::path& path);

}  // namespace fl::crypto
