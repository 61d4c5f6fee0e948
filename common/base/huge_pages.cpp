#include "fl/common/base/huge_pages.h"

#include <cstdint>

#include <sys/mman.h>

namespace fl {
namespace {

constexpr std::uintptr_t kPage = 4096;
// A page of 2 MiB must lie within.
constexpr std::size_t kWorthIt = 4U << 20;

}  // namespace

void AdviseHugePages(void* memory, std::size_t bytes) {
  if (bytes < kWorthIt) return;
  const auto begin = reinterpret_cast<std::uintptr_t>(memory);
  const std::uintptr_t first = (begin + kPage - 1) / kPage * kPage;
  const std::uintptr_t last = (begin + bytes) / kPage * kPage;
#if defined(MADV_HUGEPAGE)
  // Refused where the system has no such pages: then it stays as it was.
  ::madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#endif
}

}  // namespace fl
