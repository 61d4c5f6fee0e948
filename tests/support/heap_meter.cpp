#include "fl/tests/support/heap_meter.h"

#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "fl/tests/support/sanitized.h"

namespace {

std::atomic<std::size_t> held = 0;
std::atomic<std::size_t> peak = 0;

[[maybe_unused]] void* Take(std::size_t size, std::size_t alignment) {
  void* const block =
      alignment <= alignof(std::max_align_t)
          ? std::malloc(size > 0 ? size : 1)
          : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (block == nullptr) return nullptr;
  const std::size_t now = held += ::malloc_usable_size(block);
  std::size_t most = peak;
  while (now > most && !peak.compare_exchange_weak(most, now)) continue;
  return block;
}

[[maybe_unused]] void* TakeOrThrow(std::size_t size, std::size_t alignment) {
  void* const block = Take(size, alignment);
  if (block == nullptr) throw std::bad_alloc();
  return block;
}

[[maybe_unused]] void Give(void* block) {
  if (block == nullptr) return;
  held -= ::malloc_usable_size(block);
  std::free(block);
}

}  // namespace

#if !defined(FL_TEST_SANITIZED)
// The other forms call these.
void* operator new(std::size_t size) {
  return TakeOrThrow(size, 1);
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  return TakeOrThrow(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* block) noexcept {
  Give(block);
}
void operator delete(void* block, std::size_t) noexcept {
  Give(block);
}
void operator delete(void* block, std::align_val_t) noexcept {
  Give(block);
}
void operator delete(void* block, std::size_t, std::align_val_t) noexcept {
  Give(block);
}
#endif

namespace fl::testing {

HeapPeak::HeapPeak() : before_(held) {
  peak = held.load();
}

std::size_t HeapPeak::bytes() const {
  return peak - before_;
}

}  // namespace fl::testing
