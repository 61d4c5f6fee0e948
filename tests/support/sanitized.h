#pragma once

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FL_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define FL_TEST_SANITIZED 1
#endif
#endif

namespace fl::testing {

// Under a sanitizer training takes up to twenty times as long: there, what learns for long learns
// for a few steps, and how well is not judged.
#if defined(FL_TEST_SANITIZED)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace fl::testing
