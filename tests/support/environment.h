#pragma once

#include <cstdint>
#include <cstdlib>

namespace fl::testing {

// The number that an environment variable holds: how much of something a test is to do.
inline std::uint64_t FromEnvironment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nothing sets variables.
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

}  // namespace fl::testing
