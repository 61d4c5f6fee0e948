#include "fl/common/base/result.h"

#include <memory>
#include <set>
#include <sstream>

#include <doctest/doctest.h>

#include "fl/tests/support/result.h"

namespace fl::testing {
namespace {

Result<int> Half(int value) {
  if (value % 2 != 0)
    return Error{ErrorCode::kInvalidArgument,
                 "expected an even number, found " + std::to_string(value)};
  return value / 2;
}

Result<int> Quarter(int value) {
  FL_TRY(const int half, Half(value));
  FL_TRY(const int quarter, Half(half));
  return quarter;
}

Result<> Check(int value) {
  FL_TRY_OK(Half(value));
  return {};
}

}  // namespace

TEST_CASE("Result: FL_TRY binds the value or hands on the error") {
  CHECK(Get(Quarter(8)) == 2);
  CHECK(Quarter(6).error() ==
        Error{ErrorCode::kInvalidArgument, "expected an even number, found 3"});
  CHECK(Check(2));
  CHECK(CodeOf(Check(1)) == ErrorCode::kInvalidArgument);
}

TEST_CASE("Result: holds what can only be moved") {
  Result<std::unique_ptr<int>> result(std::make_unique<int>(3));
  const std::unique_ptr<int> value = std::move(result).value();
  CHECK(*value == 3);
}

TEST_CASE("Result: value_or gives the fallback on an error") {
  CHECK(Half(4).value_or(9) == 2);
  CHECK(Half(3).value_or(9) == 9);
}

TEST_CASE("Error: At puts the place in front") {
  const Error error = Error{ErrorCode::kMalformed, "expected a"}.At("file");
  CHECK(error.message == "file: expected a");
  std::ostringstream out;
  out << error;
  CHECK(out.str() == "malformed: file: expected a");
}

TEST_CASE("ErrorCodeName: each code has a name of its own") {
  std::set<std::string_view> names;
  for (std::uint16_t code = 0; code <= 27; ++code)
    names.insert(ErrorCodeName(static_cast<ErrorCode>(code)));
  CHECK(names.size() == 28);
  CHECK(ErrorCodeName(ErrorCode::kOk) == "ok");
  CHECK(ErrorCodeName(ErrorCode::kDigestMismatch) == "digest_mismatch");
  CHECK(ErrorCodeName(ErrorCode::kNormExceeded) == "norm_exceeded");
  CHECK(ErrorCodeName(ErrorCode::kLocked) == "locked");
  CHECK(ErrorCodeName(static_cast<ErrorCode>(9999)) == "unknown");
}

}  // namespace fl::testing
