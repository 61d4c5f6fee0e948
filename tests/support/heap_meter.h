#pragma once

#include <cstddef>

// Counts what the program takes from the heap by operator new, which heap_meter.cpp replaces: for
// test programs that link it, about memory that hostile input may cost. Under a sanitizer, which
// has operators of its own, it counts nothing. Thread safety: any thread.
namespace fl::testing {

// The most bytes that were held at once since the construction, beyond those held at that moment.
class HeapPeak {
 public:
  HeapPeak();
  std::size_t bytes() const;

 private:
  std::size_t before_;
};

}  // namespace fl::testing
