#include "fl/common/base/huge_pages.h"

#include <cstddef>
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
  const std::size_t skipped = (kPage - reinterpret_cast<std::uintptr_t>(memory) % kPage) % kPage;
#if defined(MADV_HUGEPAGE)
  // Refused where the system has no such pages: then it stays as it was.
  ::madvise(static_cast<std::byte*>(memory) + skipped, (bytes - skipped) / kPage * kPage,
            MADV_HUGEPAGE);
#endif
}

}  // namespace fl
