#pragma once

#include <string_view>

namespace fl {

// Prints the broken invariant and ends the program. Never about a value that came from outside.
[[noreturn]] void CheckFailed(std::string_view what, std::string_view why,
                              const char* file = __builtin_FILE(), int line = __builtin_LINE());

}  // namespace fl

// An invariant of our own code, on in every build; FL_DCHECK, for hot loops, only where NDEBUG is
// not set.
#define FL_CHECK(condition, why)                            \
  do {                                                      \
    if (!(condition)) ::fl::CheckFailed(#condition, (why)); \
  } while (false)
#ifdef NDEBUG
#define FL_DCHECK(condition, why) static_cast<void>(sizeof(condition))
#else
#define FL_DCHECK(condition, why) FL_CHECK(condition, why)
#endif
