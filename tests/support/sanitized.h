#pragma once

namespace fl::testing {

// Under a sanitizer training takes up to twenty times as long: there, what learns for long learns
// for a few steps, and how well is not judged.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace fl::testing
