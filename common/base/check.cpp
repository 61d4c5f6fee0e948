#include "fl/common/base/check.h"

#include <cstdio>
#include <cstdlib>

namespace fl {

void CheckFailed(std::string_view what, std::string_view why, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: broken invariant: %.*s (%.*s)\n", file, line,
               static_cast<int>(what.size()), what.data(), static_cast<int>(why.size()),
               why.data());
  std::abort();
}

}  // namespace fl
