#pragma once

#include <utility>

#include <doctest/doctest.h>

#include "fl/common/base/result.h"

namespace fl::testing {

// The value of a Result that a test counts on; on an error the case ends with its message.
template <typename T>
T Get(Result<T> result) {
  if (!result) FAIL(ErrorCodeName(result.error().code), ": ", result.error().message);
  return std::move(result).value();
}

template <typename T>
ErrorCode CodeOf(const Result<T>& result) {
  return result ? ErrorCode::kOk : result.error().code;
}

}  // namespace fl::testing
